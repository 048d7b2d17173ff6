// Package office is a stand-in for IMM WebOffice, for tests, scripts/dev and scripts/smoke: the
// API, the editor frame and the JS-SDK in one handler, with no account and no network.
//
//	server := office.New(office.Options{})
//	web := httptest.NewServer(server) // the official SDK's endpoint: web.Listener.Addr(), by http
//	server.Fail(office.Refresh, 1, office.Cut().AfterWork())
//	… server.Calls(), server.Requests(), server.DoubleSpends()
//
// It is strict on purpose: what IMM may forgive, or forgives today, is an error here. It has its
// own tables of parameters and formats, so that it and the functions check each other. What it
// promises:
//
//   - POST / is the API. Every request must be signed by ACS3-HMAC-SHA256 with temporary
//     credentials, dated within 15 minutes, with a nonce never seen before, and have all its
//     parameters in the query, as the official SDK does it. Errors have the vendor's body and,
//     where one is documented, the vendor's code.
//   - Access tokens and refresh tokens are random and live by Options.Now. A refresh token works
//     once. A refresh issues the same settings again, without WebofficeURL. One Generate serves one
//     frame: the last that opens it; the others lose it.
//   - The editor side (SDKPath, /office/…) is a JS-SDK with the real one's surface and traps, and a
//     frame that says on its face that it is a stand-in. Edits are saved into memory.
//   - It counts calls and what the vendor would charge for (Calls), remembers the last requests,
//     and fails on demand (Fail).
//
// Where the vendor documents nothing it chooses: a spent, expired or unknown refresh token is 400
// InvalidRefreshToken, and a refresh leaves the old access token its life.
// Limits: it keeps state in memory, shows text only (of any other file its name, size, pages and
// a picture), knows two actions, and has one account, whose keys are no secrets.
package office
