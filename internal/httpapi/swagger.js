// AutoAuthorize is a Swagger UI plugin that does the copying a developer would otherwise do by hand: the
// access token an answer carries goes into "Authorize", and logging out takes it away again. The token is
// kept in the page's memory only; after a reload POST /api/user/refresh brings a new one. And it shortens the page.
function AutoAuthorize() {
  const scheme = "bearerAuth";
  const granting = ["/api/user/login", "/api/user/refresh"];
  const ending = "/api/user/logout";

  // Swagger UI calls setResponse with the answer to every operation it executes; path is the operation's
  // path in the document. The original comes first, so that the answer is shown whatever happens here.
  const setResponse = (original, system) => (path, method, response) => {
    const result = original(path, method, response);
    if (granting.includes(path) && response.status === 200) {
      system.preauthorizeApiKey(scheme, response.body.access_token);
    } else if (path === ending && response.status === 204) {
      system.authActions.logout([scheme]);
    }
    return result;
  };

  // The headers that every answer has would be five lines below each of a call's dozen answers.
  const common = ["Cache-Control", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Request-Id"];
  const headers = (Original, system) => (props) => system.React.createElement(Original, {
    ...props,
    headers: props.headers?.filter((_, name) => !common.includes(name)),
  });

  return { statePlugins: { spec: { wrapActions: { setResponse } } }, wrapComponents: { headers } };
}
