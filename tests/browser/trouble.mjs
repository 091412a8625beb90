// What must not happen on a page, written down as it happens.

/// Watches a context from before its first page. `expected` are the statuses that its documents may have.
export async function watch(context, origin, expected = [200]) {
  const trouble = [];
  const documents = new Set();
  await context.exposeBinding("tellOfViolation", (_, told) => void trouble.push(`policy: ${told}`));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.tellOfViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) trouble.push(`elsewhere: ${request.url()}`);
  });
  context.on("requestfailed", (request) => {
    // A page that is left cancels what it has asked for.
    const why = request.failure()?.errorText;
    if (why !== "net::ERR_ABORTED") trouble.push(`request failed: ${request.url()} ${why}`);
  });
  context.on("response", (response) => {
    const navigation = response.request().isNavigationRequest();
    if (navigation && expected.includes(response.status())) documents.add(response.url());
    else if (response.status() >= 400 && !documents.has(response.url())) {
      trouble.push(`status ${response.status()}: ${response.url()}`);
    }
  });
  context.on("console", (message) => {
    // Chromium calls every answer of 400 and more an error, wanted or not.
    const wanted = message.text().startsWith("Failed to load resource") && documents.has(message.location().url);
    if (["error", "warning", "assert"].includes(message.type()) && !wanted) {
      trouble.push(`console: ${message.text()} (${message.location().url})`);
    }
  });
  context.on("weberror", (error) => void trouble.push(`script: ${error.error()}`));
  return trouble;
}
