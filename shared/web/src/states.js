// The states, and what each may do.
//
//   runs    requests go out when they are due
//   way     the button: 'retry' tries again, 'take' takes back what somebody else has, or begins
//           anew
//   fresh   which proof makes a request due by itself: another text, or only another person's
//   wakes   coming back to the tab, or to the network, makes one due: if the proof is another, or
//           where the last problem was a passing one
export const STATES = {
  waiting:  {},
  opening:  { runs: true },
  open:     { runs: true },
  retrying: { runs: true, way: 'retry' },
  expired:  { runs: true, way: 'retry' },
  signin:   { way: 'retry', fresh: 'text', wakes: true },
  refused:  { way: 'retry', fresh: 'text' },
  failed:   { way: 'retry', fresh: 'text', wakes: 'passing' },
  taken:    { way: 'take', fresh: 'person' },
  ended:    { way: 'take', fresh: 'person' },
  closed:   {},
};

/** Where a refusal of the functions leads, by its HTTP status; others fail. */
export const REFUSALS = { 401: 'signin', 403: 'refused', 410: 'ended' };
