// What a dashboard may contain, by the types of Grafana (@grafana/schema). tests/dashboards/schema.rs checks the files with
// it: TypeScript finds members that Grafana does not know, and values that it does not take.
import type * as raw from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as states from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// A file has the values of an enum, not their names. What is absent has a default.
type InFile<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Item)[] ? InFile<Item>[]
  : T extends object ? { [Key in keyof T]?: InFile<T[Key]> }
  : T;

type Source = { type: "prometheus"; uid: "${datasource}" };

interface Target {
  datasource: Source;
  editorMode?: "code" | "builder";
  expr: string;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
  refId: string;
}

type Link = { title: string; url: string; targetBlank?: boolean };
type Defaults<Custom> = Omit<InFile<raw.FieldConfig>, "custom" | "links"> & { custom?: InFile<Custom>; links?: Link[] };

// A property of an override by its name: `unit`, or `custom.width`.
type Property<Custom> =
  | { [Key in keyof Defaults<Custom>]-?: { id: Key; value: Defaults<Custom>[Key] } }[Exclude<keyof Defaults<Custom>, "custom">]
  | { [Key in keyof InFile<Custom> & string]-?: { id: `custom.${Key}`; value: InFile<Custom>[Key] } }[keyof InFile<Custom> & string];

type Matcher = { id: "byName" | "byRegexp" | "byFrameRefID" | "byType"; options: string };

type PanelOf<Type extends string, Options, Custom> =
  & Omit<InFile<raw.Panel>, "type" | "options" | "fieldConfig" | "targets" | "datasource" | "transformations">
  & {
    type: Type;
    datasource: Source;
    fieldConfig: { defaults: Defaults<Custom>; overrides: { matcher: Matcher; properties: Property<Custom>[] }[] };
    options: InFile<Options>;
    targets: Target[];
    transformations?: { id: string; options: Record<string, unknown> }[];
  };

type Panel =
  | PanelOf<"heatmap", heatmap.Options, heatmap.FieldConfig>
  | PanelOf<"stat", stat.Options, Record<never, never>>
  | PanelOf<"state-timeline", states.Options, states.FieldConfig>
  | PanelOf<"table", table.Options, table.FieldConfig>
  | PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>
  | (Omit<InFile<raw.RowPanel>, "panels"> & { type: "row"; panels: [] });

// The types leave out what the data source adds.
type Annotation = Omit<InFile<raw.AnnotationQuery>, "target"> & {
  expr?: string;
  tagKeys?: string;
  target?: { expr: string; refId: string };
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: "on";
};

type Variable = InFile<raw.VariableModel> & { definition?: string };

export type Dashboard = Omit<InFile<raw.Dashboard>, "panels" | "annotations" | "templating"> & {
  panels: Panel[];
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
};
