// Package broker is the two use cases: Generate gives a visitor the right to open a document,
// Refresh carries it on. It joins policy, sealed sessions and IMM, and writes one audit line for
// every decision. It knows no HTTP and verifies no caller.
//
// Promises: nothing is sent to IMM that the policy has not decided for this visitor now. A visitor
// who may not any more gets nothing, whatever tokens they hold. A visitor who may still open the
// document keeps it when a refresh goes wrong: one Generate takes its place.
//
// An instance sends a refresh token a second time only when IMM said that it did nothing with it:
// it was throttled, or refused for the function's credentials, rights or clock. After an answer the
// same sealed token gets that answer again from memory, for a minute. From then on, and at once
// after a refusal, silence or a server's failure, it gets a Generate. The memory is one instance's
// and bounded: another instance may send a spent token, which IMM refuses, and generates then.
//
// # What it may cost
//
// Each instance bounds the calls that IMM answers with a 2xx, or with a 4xx that is about what was
// asked. A call takes its room before it is sent, and gives it back when it turns out not to count.
//
//   - A visitor's generates: the policy's limits, `anyone` for each address of guests, `caller`
//     for each verified caller. Every request counts, also a refused one. So does a Generate for
//     a sealed token that this instance has answered before.
//   - A visitor's other calls for refreshes: 30 times that limit at once, refilled at twice its
//     rate.
//   - One open document: four calls within the life of an access token, whichever of its sealed
//     tokens are shown. Its opening is not among them.
//   - All together: `total`, for every call that may be charged. Generates take at most two thirds
//     of it, all that guests ask two thirds, their generates a half: a third is left for refreshes,
//     and a third for the people who are signed in.
//
// Guests who hold a share link that names nobody have the limit of their address, and the link ten
// times a caller's. A User.Name that IMM refuses costs a second call, once a day where the plain
// one helps. It counts like the first, but after it was made.
//
// # What fails, and what becomes of it
//
// What a page gets, and after the arrow what its next request gets, which the page sends when
// Retry-After is over, or a second later. In brackets is what IMM charges for both together: G is
// a Generate, R a Refresh. Calls that it answers with a 4xx are g and r, which the vendor may
// charge too; a 5xx is free. The audit line says maybeBilled where a call got a 4xx or no answer,
// and fallback where a Generate took the place of a refresh. The scripts of shared/app prove the
// rows over HTTP, faults.txtar most of them, and that the document is open in its frame afterwards.
// Go tests prove the rest: termination, bodies that are cut off and pages that have gone in
// shared/app, a panic before the answer here.
//
//	fault                                  generate                    refresh
//	IMM not reached: refused, no DNS       503 → 200 (G)               503 → 200 (R)
//	IMM silent: cut, slow, before the work 502, 504 → 200 (G)          200 (G)
//	          … after the work             502, 504 → 200 (G G)        200 (R G)
//	answer of no use: truncated, garbled   502 → 200 (G G)             200 (R G)
//	silent or of no use, and the Generate  –                           its failure → 200 (G)
//	in place of the refresh fails too
//	500, 503, a gateway's page             502, 503 → 200 (G)          502, 503 → 200 (G)
//	          … after the work             502, 503 → 200 (G)          502, 503 → 200 (G)
//	refresh token refused: spent, expired  –                           200 (r G)
//	no such document                       404 (g)                     –
//	throttled, by IMM or a gateway         429 → 200 (g G)             429 → 200 (r R)
//	credentials ended, clock 20 min off    503 → 200 (g G), fix logged 503 → 200 (r R), fix logged
//	right missing, a gateway's refusal     502 → 200 (g G), fix logged 502 → 200 (r R), fix logged
//	over one of the bounds above           429, nothing is sent        429, nothing is sent
//	IMM's clock 10 minutes off             200 (G)                     200 (R)
//	frozen over 15 s: connections dead     200 (G)                     200 (R)
//	or half open
//	deadline shorter than the call         504 → 200 (G)               half the time for each call
//	identity provider gone, keys known     200 (G)                     200 (R)
//	          … or slow, keys not known    503 → 200 (G)               503 → 200 (R)
//	keys rotated                           200 (G), one fetch          200 (R), one fetch
//	          … within a minute of a fetch 401, sign in → 200 (G)      401, sign in → 200 (R)
//	SIGTERM while under way                200 (G)                     200 (R)
//	panic before the answer                500 → 200 (G)               500 → 200 (G)
//	          … after it                   500 → 200 (G G)             500 → 200 (R), from memory
//	body cut off                           400 → 200 (G)               400 → 200 (R)
//	page gone before its answer            (G) → 200 (G G)             (R) → 200 (R), from memory
package broker
