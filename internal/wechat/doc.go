// Package wechat speaks the customer-service API of WeChat Official Accounts and says what its
// answers mean.
//
// The model is four nouns. A [Client] makes a call with a token from a [TokenSource]; what comes
// back is nil or one [*Error]; the error carries the raw errcode and a [Fault], which says whose
// fault it was and so what the worker does next; [Explain] turns an errcode into words for people.
// The package knows nothing of queues, retries or holds: it reports, the worker decides.
//
// Three rules shape the code:
//
//   - Not sent, answered and unknown are three different things. Only an error after the first byte
//     of the request may have left is [FaultUnknown], because only then a repeat can reach the user
//     twice. What counts is how many bytes the connection took (see direct, and countedConn for
//     proxies), never the kind of error.
//   - A failure to get a token never speaks against the message: it is classed as config, quota or
//     upstream, so it costs the message nothing.
//   - The access token travels in the query of the URL. So no error of this package holds a URL
//     query, net/http's own redirect and url.Error machinery is passed by, and secrets are of type
//     [Secret], which prints as "[redacted]".
//
// Every API method is the same three moves: describe the request, do it, return what came back.
// Send is the one in the hot path; the others (kfaccounts, typing, quota, rid) are for people. What
// the document asks of their arguments is checked by functions beside them (KFAccountChange.Check,
// CheckAvatar …), which need no client and are the caller's to use.
//
//	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{Timeout: 10 * time.Second, IdlePerHost: 256})
//	if err != nil {
//		return err
//	}
//	tokens := wechat.NewStableToken(hc, "https://api.weixin.qq.com", appID, readSecret)
//	defer tokens.Close()
//	client := wechat.NewClient(hc, "https://api.weixin.qq.com", tokens)
//
//	err = client.Send(ctx, packet)
//	var e *wechat.Error
//	if errors.As(err, &e) && e.Fault == wechat.FaultRecipient {
//		// the reply window is closed, the user has left, …: this message will never be delivered
//	}
package wechat
