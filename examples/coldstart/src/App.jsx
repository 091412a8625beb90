import { useState } from "react";

const REGIONS = ["eu-west-1", "us-east-1", "ap-south-1"];

export default function App() {
  const [active, setActive] = useState(REGIONS[0]);
  return (
    <main>
      <h1>Orders are served from {active}</h1>
      {REGIONS.map((region) => (
        <button key={region} disabled={region === active} onClick={() => setActive(region)}>
          {region}
        </button>
      ))}
    </main>
  );
}
