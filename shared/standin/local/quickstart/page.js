// A page that does what the vendor's quick start does: the same calls of the SDK in the same order,
// a plain function that returns a promise as refreshToken, 25 of 30 minutes as its timeout whatever
// the server says, no handling of failures. It is here to be compared with, and to show that a page
// built on the quick start works with these functions after its two URLs have been replaced.
const query = new URLSearchParams(location.search);
const setting = await (await fetch('/dev.json')).json();
const generateURL =
  '/generate?SourceURI=' + encodeURIComponent(query.get('document') ?? setting.documents[0].uri);
const timeout = (setting.lifetime * 25) / 30;
const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

function get(url, parameters) {
  return fetch(url + (parameters ? '?' + new URLSearchParams(parameters) : '')).then(answer =>
    answer.json(),
  );
}

function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = address;
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
}

await load(setting.sdk);
let last = await get(generateURL);
let refreshes = 0;
const callbacks = {
  plain: function () {
    return new Promise(function (resolve) {
      get('/refresh', { RefreshToken: last.RefreshToken, AccessToken: last.AccessToken }).then(
        function (next) {
          last = next;
          refreshes += 1;
          show('refreshes', refreshes);
          resolve({ token: next.AccessToken, timeout });
        },
      );
    });
  },
  // The usual mistake: the SDK ignores an async function, and the session ends with its first
  // token.
  async: async () => {
    last = await get('/refresh', {
      RefreshToken: last.RefreshToken,
      AccessToken: last.AccessToken,
    });
    refreshes += 1;
    show('refreshes', refreshes);
    return { token: last.AccessToken, timeout };
  },
};
const instance = window.aliyun.config({
  mount: document.querySelector('#container'),
  url: last.WebofficeURL,
  refreshToken: callbacks[query.get('callback') ?? 'plain'],
});
instance.ApiEvent.AddApiEventListener('fileOpen', () => show('state', 'open'));
instance.ApiEvent.AddApiEventListener('error', () => show('state', 'lost'));
instance.setToken({ token: last.AccessToken, timeout });
