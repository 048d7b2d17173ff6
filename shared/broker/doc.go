// Package broker is the two use cases: Generate gives a visitor the right to open a document,
// Refresh carries it on. It joins policy, sealed sessions and IMM, and writes one audit line for
// every decision. It knows no HTTP and verifies no caller.
//
// Promises: nothing is sent to IMM that the policy has not decided for this visitor now; a visitor
// who may not any more gets nothing, whatever tokens they hold; a visitor who may still open the
// document keeps it when a refresh goes wrong (one Generate in its place). An instance sends a
// refresh token a second time only when IMM said that it did nothing with it: it was throttled, or
// refused for the function's credentials, rights or clock. After an answer the same sealed token
// gets that answer again from memory, for a minute; from then on, and after a refusal, silence or a
// server's failure at once, it gets a Generate. The memory is one instance's and bounded: another
// instance may send a spent token, which IMM refuses, and generates then.
//
// # What fails, and what becomes of it
//
// What a page gets, and after the arrow what its next request gets, which the page sends when
// Retry-After is over, or a second. In brackets is what IMM charges for both together: G is a
// Generate, R a Refresh. The audit line says maybeBilled where a call was sent and the bill is not
// known, and fallback where a Generate took the place of a refresh. shared/app/faults_test.go and
// its companions hold all of it to be so, over HTTP, and that the document is open in its frame
// afterwards.
//
//	fault                                     generate                    refresh
//	IMM not reached: refused, no DNS          503 → 200 (G)               503 → 200 (R)
//	IMM silent: cut, slow, before the work    502, 504 → 200 (G)          200 (G)
//	          … after the work                502, 504 → 200 (G G)        200 (R G)
//	answer of no use: truncated, wrong types  502 → 200 (G G)             200 (R G)
//	silent or of no use, and the Generate     –                           its failure → 200 by Generate, the token
//	in place of the refresh fails too                                     is not sent again
//	500, 503, a gateway's page                502, 503 → 200 (G)          502, 503 → 200 (G), the same
//	          … after the work                502, 503 → 200 (G G)        502, 503 → 200 (R G), the same
//	refresh token refused: spent, expired     –                           200 (G)
//	throttled, by IMM or a gateway            429 → 200 (G)               429 → 200 (R)
//	credentials ended, clock 20 minutes off   503 → 200 (G), fix logged   503 → 200 (R), fix logged
//	right missing, or a gateway's refusal     502 → 200 (G), fix logged   502 → 200 (R), fix logged
//	IMM's clock 10 minutes off                200 (G)                     200 (R)
//	frozen over 15 s: connections dead        200 (G)                     200 (R)
//	or half open
//	deadline shorter than the call            504 → 200 (G)               half the time is the refresh's, half the Generate's
//	identity provider gone, keys known        200 (G)                     200 (R)
//	          … slow or gone, keys not known  503 → 200 (G)               503 → 200 (R)
//	keys rotated                              200 (G), one fetch          200 (R), one fetch
//	          … within a minute of a fetch    401, sign in → 200 (G)      401, sign in → 200 (R)
//	SIGTERM while under way                   200 (G)                     200 (R)
//	panic before the answer                   500 → 200 (G)               500 → 200 (G), the same
//	          … after it                      500 → 200 (G G)             500 → 200 (R), from memory
//	body cut off                              400 → 200 (G)               400 → 200 (R)
//	page gone before its answer               (G) → 200 (G G)             (R) → 200 (R), from memory
package broker
