// Opens the tokens in its address, which are another page's. The title says how it goes.
const answer = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const { sdk } = await (await fetch('setting.json')).json();
const script = document.createElement('script');
script.src = sdk;
script.onload = () => {
  const instance = window.aliyun.config({
    mount: document.getElementById('place'),
    url: answer.WebofficeURL,
  });
  instance.ApiEvent.AddApiEventListener('fileOpen', () => {
    document.title = 'open';
  });
  instance.setToken({ token: answer.AccessToken, timeout: 30 * 60e3 });
};
document.head.append(script);
