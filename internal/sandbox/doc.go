// Package sandbox is a programmable fake of WeChat's customer-service API over real HTTP. `kefu
// sandbox`, `kefu dev`, the tests, the crash tests and the benchmarks all use this same one; a team
// that only produces messages can test against it without a WeChat account.
//
// # Model
//
// A call comes in and takes one way: it is read, the script is asked whether a [Rule] acts on it,
// the outcome is decided, a [Record] is kept, and only then is it answered (or reset, or left
// hanging). So the record is the oracle: it knows what was processed even when the client does not.
// [Record].Delivered says that a message was taken for delivery, Answered that the client was given
// the errcode; without an answer, Delivered is what the client cannot know.
//
// There are three ways to make it refuse:
//
//   - Without a rule and a setting the API answers as the real one does to what is wrong with the
//     call itself: it wants a valid access token (41001, 40001, 42001) and a Content-Length (a
//     chunked body gets HTTP 412 with no body), the right method (43001, 43002), a body (44002)
//     that is JSON (47001), with touser (41009, 40003) and a known msgtype (40008). Accounts,
//     typing and request ids have their state and their errors (614xx or 654xx, 45072, 45081,
//     7600x). Everybody and everything else is good, without limit.
//   - [Settings] make it as strict as the real API from what happened before: reply windows and
//     allowances (45015, 45047, 45080), known users (40003), contents (44004, 45002, 45008, 40007,
//     …), quotas by day and minute (45009, 45011), forced refreshes, the IP list (40164). [Like]
//     has them as the real API has them, by the pages of today or by the document that kefu began
//     with.
//   - A [Rule] overrides all that for the calls it selects: any errcode, any body, any way for an
//     exchange to break.
//
// The sandbox has a clock of its own, which can be put forward: 48 hours pass at once.
//
// Every chance is drawn from [Options].Seed: the same calls in the same order meet the same shares
// and delays.
//
// # In Go
//
//	sb := sandbox.New(sandbox.Options{TokenPrefix: "canary-"})
//	defer sb.Close()
//	url, err := sb.Listen("127.0.0.1:0")
//	…
//	sb.Add(sandbox.Rule{
//		Call: sandbox.CallSend, OpenID: "oUser1", Times: 1, Reset: sandbox.ResetAfter,
//	})
//	sb.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: -1, Share: 0.05})
//	err = sb.Wait(ctx, 100) // 100 sends received
//	repeats := sb.CountBy(sandbox.ByHash, sandbox.Filter{Delivered: true})
//
//	sb.Configure(sandbox.Settings{Window: sandbox.WindowToday})
//	sb.Act(appID, "oUser1", sandbox.UserMessaged) // 5 messages in 48 hours
//	sb.Advance(48 * time.Hour)                    // 45015
//
// # The API
//
//	POST /cgi-bin/message/custom/send            call "send"
//	POST /cgi-bin/message/custom/typing          call "typing": 15 s, or until a message comes
//	POST /cgi-bin/stable_token                   call "token": the valid one, unless force_refresh
//	GET  /cgi-bin/token                          call "token": a new one; the last lives 5 min more
//	POST /customservice/kfaccount/add            call "kfaccount"
//	POST /customservice/kfaccount/update         call "kfaccount"
//	POST /customservice/kfaccount/del            call "kfaccount"; GET too, account in body or query
//	POST /customservice/kfaccount/uploadheadimg  call "kfaccount": form file "media", a JPEG
//	GET  /cgi-bin/customservice/getkflist        call "kfaccount": kf_id is a string
//	GET  /cgi-bin/customservice/getonlinekflist  call "kfaccount": kf_id is a number
//	POST /cgi-bin/openapi/quota/get              call "quota"
//	POST /cgi-bin/openapi/quota/clear            call "quota": one API; 10 clears a month in all
//	POST /cgi-bin/clear_quota                    call "quota": all of the app
//	POST /cgi-bin/clear_quota/v2                 call "quota": all, by appsecret and without a token
//	POST /cgi-bin/openapi/rid/get                call "quota": the last 1000 refusals, with tokens
//
// The names are those of rules, quotas, records and totals; the path does as well. Another path
// under /cgi-bin/ or /customservice/ answers 40066, unless a rule whose call is that path has a
// body for it.
//
// # The control API
//
// It needs no authentication and shows what was sent, so bind loopback. Bodies are JSON; unknown
// fields and parameters are errors. GET / is a page that says all this for the address at hand.
// A browser may call it for pages of its own only: a request from another site is refused, and on a
// loopback address one that does not name this machine as its host. Package phone adds a page at
// /phone that shows what users received.
//
// Script. The JSON is that of [Rule], one or an array; the answer lists the rules with their
// numbers. The first rule whose turn it is acts:
//
//	curl -s $URL/sandbox/rules -d '{"call":"send","errcode":-1,"share":0.05}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","errcode":45015,"openid":"oUser1"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","after":2,"times":1,"reset":"after"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","every":10,"http_status":429,"retry_after":"5"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","http_status":200,"body":"<html>",
//		"content_type":"text/html"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","delay":"50ms","delay_max":"2s"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","redirect":"https://elsewhere.example/"}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","gzip_bomb":10000000000}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","endless_header":true}'
//	curl -s $URL/sandbox/rules -d '{"call":"send","drip":"1s",
//		"raw":"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"}'
//	curl -s $URL/sandbox/rules -d '{"call":"/customservice/kfaccount/del","lose":true}'
//	curl -s $URL/sandbox/rules -d '{"call":"token","errcode":40164}'
//	curl -s $URL/sandbox/rules
//	curl -s -X DELETE $URL/sandbox/rules/3
//	curl -s -X DELETE $URL/sandbox/rules
//
// Settings, the JSON of [Settings]. What is named changes, the rest stays, or is as "like" says;
// DELETE goes back to the start:
//
//	curl -s $URL/sandbox/settings -d '{"like":"today"}'
//	curl -s $URL/sandbox/settings -d '{"window":"today","known_users":true,
//		"allowances":{"message":{"sends":20,"lasts":"48h"}}}'
//	curl -s $URL/sandbox/settings -d '{"messages":{"strict":true,"text_bytes":2048,"articles":1,
//		"media":["MEDIA_ID"]}}'
//	curl -s $URL/sandbox/settings -d '{"quotas":{"send":{"day":500000,"minute":1000}}}'
//	curl -s $URL/sandbox/settings -d '{"tokens":{"forced_a_day":20,"addresses":["10.0.0.0/8"]}}'
//	curl -s $URL/sandbox/settings -d '{"kfaccounts":{"errors":"old","limit":10,
//		"nicknames":"document","delete":"get","image_space":true}}'
//	curl -s $URL/sandbox/settings
//	curl -s -X DELETE $URL/sandbox/settings
//
// State, each for one app: what users do (one or an array), accounts (changed past all rules; a
// status makes one online), calls made today by path, the apps there are (once one is, others are
// unknown), and the time:
//
//	curl -s $URL/sandbox/users -d '{"appid":"wx0000000000000001","openid":"oUser1",
//		"action":"message"}'
//	curl -s "$URL/sandbox/users?appid=wx0000000000000001"
//	curl -s $URL/sandbox/kfaccounts -d '{"appid":"wx0000000000000001","kf_account":"a@test",
//		"nickname":"A","status":1}'
//	curl -s "$URL/sandbox/kfaccounts?appid=wx0000000000000001"
//	curl -s -X DELETE "$URL/sandbox/kfaccounts?appid=wx0000000000000001&kf_account=a@test"
//	curl -s $URL/sandbox/quota -d '{"appid":"wx0000000000000001","call":"send","used":499999}'
//	curl -s "$URL/sandbox/quota?appid=wx0000000000000001"
//	curl -s $URL/sandbox/apps -d '{"appid":"wx0000000000000001","secret":"mine"}'
//	curl -s $URL/sandbox/apps
//	curl -s -X POST "$URL/sandbox/clock?forward=48h"
//	curl -s $URL/sandbox/clock
//
// Received, as a JSON array of [Record], oldest first, or one object per line with format=ndjson
// (or Accept: application/x-ndjson). Parameters: call, appid, openid, msgtype, contains,
// delivered=true, since=N (records after number N), limit=N, newest=N:
//
//	curl -s "$URL/sandbox/received?openid=oUser1&newest=10"
//	curl -s "$URL/sandbox/received?call=send&since=1000&limit=100"
//	curl -s "$URL/sandbox/received?format=ndjson" > received.ndjson
//	curl -s -X DELETE $URL/sandbox/received
//
// Counts, with the same filter; by=openid, appid, msgtype, errcode or hash answers an object,
// over=N leaves out what is not above N:
//
//	curl -s "$URL/sandbox/count?openid=oUser1&delivered=true"
//	curl -s "$URL/sandbox/count?by=hash&over=1&delivered=true"
//
// Totals ([Stats]), and the same as soon as n calls of a filter (without one: n sends) have come,
// HTTP 504 after the timeout:
//
//	curl -s $URL/sandbox/stats
//	curl -s "$URL/sandbox/wait?n=100&timeout=30s"
//
// Tokens, and back to the start (no rules, nothing received, first settings, no users and accounts;
// tokens stay, and the clock goes on):
//
//	curl -s -X POST $URL/sandbox/tokens/expire
//	curl -s -X POST "$URL/sandbox/tokens/expire?appid=wx0000000000000001"
//	curl -s $URL/sandbox/tokens -d '{"appid":"wx0000000000000001","access_token":"mine"}'
//	curl -s -X POST $URL/sandbox/reset
//
// # Cost
//
// On the path of a send nothing is decoded into values: one scan checks the JSON and finds touser
// and msgtype, one string holds the body, one short lock guards the memory of calls and another the
// app's count of them. That adds a sixth to a quarter to what net/http takes alone. BenchmarkSend
// measures it in CPU time of the serving process, with the clients in another. Settings cost when
// they are set. With [Options].Fast nothing in a body is known, so that windows, contents and
// typing do not hold for sends; quotas do.
package sandbox
