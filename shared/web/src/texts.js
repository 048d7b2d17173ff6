// What people read, in English and in Chinese. {} is what a problem is about.
const table = {
  opening: ['Opening…', '打开中…'],
  waiting: ['Waiting for another document…', '等待中…'],
  editing: ['Editing', '可编辑'],
  readonly: ['Read-only', '只读'],
  saving: ['Saving…', '保存中…'],
  saved: ['Saved', '已保存'],
  unsaved: ['Not saved', '未保存'],
  retrying: ['Trying again…', '重试中…'],
  expired: ['Connection lost. Trying again…', '连接断开，重试中…'],
  signin: ['Sign in or open your link again', '请登录或重开链接'],
  taken: ['Opened elsewhere', '已在别处打开'],
  refused: ['You have no access', '无权访问'],
  ended: ['Session ended', '会话已结束'],
  failed: ['Not opened', '未打开'],
  retry: ['Try again', '重试'],
  take: ['Continue here', '继续'],
  Network: ['No connection: {}', '无法连接：{}'],
  SDK: ['Blocked. Allow {}', '请放行 {}'],
  Frame: ['The editor does not respond', '编辑器没有响应'],
  Page: ['The page is not set up right', '页面设置有误'],
};

/** Those words by language; where one has no word, English. Change or add any: texts.fr = {…}. */
export const texts = {
  en: {},
  // The functions say theirs in English. Here by Code, or by the first digit of the status.
  zh: {
    Unauthenticated: '登录已过期或无效',
    Forbidden: '未对您开放',
    ResourceNotFound: '找不到此文档',
    SessionEnded: '已到最长打开时间',
    Throttling: '访问较多，请稍候',
    4: '请求无效',
    5: '服务暂时不可用',
  },
};
for (const name in table) [texts.en[name], texts.zh[name]] = table[name];

/** The words for a language tag, or a locale such as zh_CN: its own, else its language's. */
export const wordsFor = tag => texts[tag] || texts[tag.toLowerCase().split(/[-_]/)[0]];

/**
 * What a reader is told about a problem: in words, else the functions' own sentence. Of what is the
 * page's own to mend they are told that it is, and its console what.
 */
export const sentence = ({ code, value, status }, words) =>
  (words[code] || words[status / 100 | 0] || (status ? value : words.Page)).replace('{}', value);
