import { renderToString } from "react-dom/server";
import App from "./App.jsx";

export default () => `<!doctype html><title>Orders</title><div id="root">${renderToString(<App />)}</div>
<script src="/client.js"></script>`;
