// Package sandbox is a programmable fake of WeChat's customer-service API over real HTTP. `kefu sandbox`, `kefu dev`, the tests, the crash
// tests and the benchmarks all use this same one.
//
// # Model
//
// A call comes in and takes one way: it is read, the script is asked whether a [Rule] acts on it, the outcome is decided, a [Record] is
// kept, and only then is it answered (or reset, or left hanging). So the record is the oracle: it knows what was processed even when the
// client does not. [Record].Delivered says that a message was taken for delivery, Answered that the client was given the errcode; without
// an answer, Delivered is what the client cannot know.
//
// Without a rule the API answers as the real one does as far as that is known: it wants a valid access token (41001, 40001, 42001) and
// a Content-Length (a chunked body gets HTTP 412 with no body), a POST (43002) with a body (44002) that is JSON (47001), with touser
// (41009, 40003) and a known msgtype (40008). Anything else is left to rules: quotas, windows, media.
//
// Every chance is drawn from [Options].Seed: the same calls in the same order meet the same shares and delays.
//
// # In Go
//
//	sb := sandbox.New(sandbox.Options{TokenPrefix: "canary-"})
//	defer sb.Close()
//	url, err := sb.Listen("127.0.0.1:0")
//	…
//	sb.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "oUser1", Times: 1, Reset: sandbox.ResetAfter})
//	sb.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: -1, Share: 0.05})
//	err = sb.Wait(ctx, 100) // 100 sends received
//	repeats := sb.CountBy(sandbox.ByHash, sandbox.Filter{Delivered: true})
//
// # The API
//
//	POST /cgi-bin/message/custom/send   call "send"
//	POST /cgi-bin/stable_token          call "token": the same token while it is valid, unless force_refresh
//	GET  /cgi-bin/token                 call "token": a new one each time, the one before it lives on for a while
//
// Another path under /cgi-bin/ or /customservice/ answers 40066, unless a rule whose call is that path has a body for it.
//
// # The control API
//
// It needs no authentication and shows what was sent, so bind loopback. Bodies are JSON; unknown fields and parameters are errors. GET / is a
// page that says all this for the address at hand.
//
// Script. The JSON is that of [Rule], one or an array; the answer lists the rules with their numbers. The first rule whose turn it is acts:
//
//	curl -s $URL/sandbox/rules -d '{"call":"send","errcode":-1,"share":0.05}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","errcode":45015,"openid":"oUser1"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","after":2,"times":1,"reset":"after"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","every":10,"http_status":429,"retry_after":"5"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","http_status":200,"body":"<html>","content_type":"text/html"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","delay":"50ms","delay_max":"2s"}'
//	curl -s $URL/sandbox/rules -d '{"call":"token","errcode":40164}'
//	curl -s $URL/sandbox/rules
//	curl -s -X DELETE $URL/sandbox/rules/3
//	curl -s -X DELETE $URL/sandbox/rules
//
// Received, as a JSON array of [Record], oldest first, or one object per line with format=ndjson (or Accept: application/x-ndjson).
// Parameters: call, appid, openid, msgtype, contains, delivered=true, since=N (records after number N), limit=N, newest=N:
//
//	curl -s "$URL/sandbox/received?openid=oUser1&newest=10"
//	curl -s "$URL/sandbox/received?call=send&since=1000&limit=100"
//	curl -s "$URL/sandbox/received?format=ndjson" > received.ndjson
//	curl -s -X DELETE $URL/sandbox/received
//
// Counts, with the same filter; by=openid, appid, msgtype, errcode or hash answers an object, over=N leaves out what is not above N:
//
//	curl -s "$URL/sandbox/count?openid=oUser1&delivered=true"
//	curl -s "$URL/sandbox/count?by=hash&over=1&delivered=true"
//
// Totals ([Stats]), and the same as soon as n calls of a filter (without one: n sends) have come, HTTP 504 after the timeout:
//
//	curl -s $URL/sandbox/stats
//	curl -s "$URL/sandbox/wait?n=100&timeout=30s"
//
// Tokens, and back to the start (no rules, nothing received; tokens stay):
//
//	curl -s -X POST $URL/sandbox/tokens/expire
//	curl -s -X POST "$URL/sandbox/tokens/expire?appid=wx0000000000000001"
//	curl -s $URL/sandbox/tokens -d '{"appid":"wx0000000000000001","access_token":"mine"}'
//	curl -s -X POST $URL/sandbox/reset
//
// # Cost
//
// On the path of a send nothing is decoded into values: one scan checks the JSON and finds touser and msgtype, one string holds the body,
// one short lock guards the memory of calls. That adds about a sixth to what net/http takes alone. BenchmarkSend measures it in CPU time
// of the serving process, with the clients in another.
package sandbox
