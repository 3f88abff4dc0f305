// The script of the page. It never sees a token, because the tokens are in HttpOnly cookies.

const element = (id) => document.getElementById(id);

// --- Requests ------------------------------------------------------------------------

// Scripts can only read the cookies with the CSRF values.
function cookie(name) {
  const pair = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return pair === undefined ? "" : pair.slice(name.length + 1);
}

// The browser adds the token. The CSRF value proves that this page sends the request.
function attempt(method, path, body, csrfCookie = "csrf_access_token") {
  const headers = { "X-CSRF-TOKEN": cookie(csrfCookie) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: JSON.stringify(body) });
}

let renewal = null;

// Requests that fail at the same time share one renewal.
function renew() {
  renewal ??= attempt("POST", "/token/refresh", undefined, "csrf_refresh_token")
    .then((response) => {
      if (response.ok) element("renewals").value++;
      return response.ok;
    })
    .finally(() => (renewal = null));
  return renewal;
}

// The status is 422 if a token is invalid, for example if it was signed with an older key.
const isRejected = ({ status }) => status === 401 || status === 422;

// If the access token has expired, renew it and repeat the request once.
async function send(method, path, body) {
  let response = await attempt(method, path, body);
  if (isRejected(response) && (await renew())) {
    response = await attempt(method, path, body);
  }
  if (isRejected(response)) showLogin("Please log in");
  return response;
}

// --- The page ------------------------------------------------------------------------

let socket = null;

function showLogin(message = "") {
  socket?.close();
  element("account").hidden = true;
  element("login-form").hidden = false;
  element("message").textContent = message;
}

function showAccount({ username, notes }) {
  element("login-form").hidden = true;
  element("account").hidden = false;
  element("message").textContent = "";
  element("user").textContent = username;
  showNotes(notes);
}

function showNotes(notes) {
  const items = notes.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  element("notes").replaceChildren(...items);
}

async function load() {
  const response = await send("GET", "/me");
  if (response.ok) showAccount(await response.json());
  return response.ok;
}

async function logIn() {
  const credentials = {
    username: element("username").value,
    password: element("password").value,
  };
  element("password").value = "";
  const response = await attempt("POST", "/login", credentials);
  if (response.ok) await load();
  else showLogin((await response.json()).msg);
}

async function logOut() {
  const response = await send("POST", "/logout");
  if (response.ok) showLogin("Logged out");
  else if (!isRejected(response)) throw new Error("you are still logged in");
}

async function addNote() {
  const response = await send("POST", "/notes", { text: element("note").value });
  if (!response.ok) return;
  element("note").value = "";
  showNotes((await response.json()).notes);
}

// A page cannot see why a WebSocket was rejected. This request first renews the token if needed.
async function connect() {
  if (!(await load())) return;
  socket?.close();
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/echo`);
  socket.onopen = () => socket.send("hello");
  socket.onmessage = ({ data }) => {
    const { username, text } = JSON.parse(data);
    element("socket").value = `${username} said: ${text}`;
  };
  socket.onclose = ({ target }) => {
    if (target === socket) element("socket").value = "closed";
  };
}

// --- Start ---------------------------------------------------------------------------

function on(event, id, action) {
  element(id).addEventListener(event, async (event) => {
    event.preventDefault();
    try {
      await action();
    } catch (error) {
      element("message").textContent = `Something went wrong: ${error.message}`;
    }
  });
}

on("submit", "login-form", logIn);
on("submit", "note-form", addNote);
on("click", "logout", logOut);
on("click", "connect", connect);

// Without a CSRF cookie, nobody is logged in, and a request is not necessary.
if (cookie("csrf_refresh_token")) await load();
else showLogin();
