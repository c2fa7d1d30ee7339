package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wiring"
)

// office is an app's way to the API.
type office struct {
	client *wechat.Client
	close  func()
	err    error // there is none

	token func() (struct{}, error)
	quota func() (wechat.Quota, error)
}

func newOffice(ctx context.Context, api config.WeChat, app config.App) *office {
	o := &office{close: func() {}}
	client, closeAll, err := wiring.API(api, app)
	if err != nil {
		o.err = err
		return o
	}
	o.client, o.close = client, closeAll
	// As every command: the token that all processes share, and none by force.
	o.token = had(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, client.Probe(ctx)
	})
	o.quota = had(ctx, func(ctx context.Context) (wechat.Quota, error) {
		return client.Quota(ctx, wechat.SendPath)
	})
	return o
}

// office returns an app's way to the API, or why a check that needs it is not done.
func (s *scene) office(app config.App) (*office, error) {
	if err := s.reachable(app); err != nil {
		return nil, err
	}
	o := s.offices[app.AppID]
	if o.err != nil {
		return nil, skipf("there is no way to the API: %v", o.err)
	}
	return o, nil
}

// signedIn is office for a check that needs a token.
func (s *scene) signedIn(app config.App) (*office, error) {
	o, err := s.office(app)
	if err != nil {
		return nil, err
	}
	if _, err := o.token(); err != nil {
		return nil, skipf("there is no token to ask with")
	}
	return o, nil
}

// ipSeen is whether WeChat takes calls from this machine.
type ipSeen struct {
	app string
	err error // of the token, or of a call with it
}

const ipNotListed = 40164

func isUnlisted(err error) bool {
	return errors.Is(err, &wechat.Error{Code: ipNotListed, HasCode: true})
}

func seeIPList(_ context.Context, s *scene, app config.App) (ipSeen, error) {
	o, err := s.office(app)
	if err != nil {
		return ipSeen{}, err
	}
	seen := ipSeen{app: app.AppID}
	if _, seen.err = o.token(); seen.err == nil {
		// A token that came from elsewhere says nothing of this machine.
		_, seen.err = o.quota()
	}
	if seen.err != nil && !isUnlisted(seen.err) {
		return seen, skipf("WeChat gives no answer that tells: see token and quota")
	}
	return seen, nil
}

var seenAddress = regexp.MustCompile(`invalid ip ([0-9a-fA-F.:]+)`)

func judgeIPList(s ipSeen) []Finding {
	e := (*wechat.Error)(nil)
	if !isUnlisted(s.err) || !errors.As(s.err, &e) {
		return []Finding{well("WeChat takes calls from this machine")}
	}
	address := "this machine's address"
	if m := seenAddress.FindStringSubmatch(e.Msg); m != nil {
		address = m[1]
	}
	return []Finding{bad("WeChat refuses calls from "+address+" (errcode 40164)",
		"Add "+address+" to the IP allow-list of "+s.app+" on mp.weixin.qq.com, behind NAT every "+
			"address that it may have; a held app goes on by itself within minutes.")}
}

// tokenSeen is what came of asking for a token.
type tokenSeen struct {
	kind config.TokenKind
	err  error
}

func seeToken(_ context.Context, s *scene, app config.App) (tokenSeen, error) {
	o, err := s.office(app)
	if err != nil {
		return tokenSeen{}, err
	}
	seen := tokenSeen{kind: app.Token.Kind}
	if _, seen.err = o.token(); isUnlisted(seen.err) {
		return seen, skipf("the IP list comes first")
	}
	return seen, nil
}

func judgeToken(t tokenSeen) []Finding {
	switch {
	case t.err != nil:
	case t.kind == config.TokenStable:
		return []Finding{well("WeChat gives one for the AppSecret")}
	default:
		return []Finding{well("the %s gives one", t.kind)}
	}
	return []Finding{bad(t.err.Error(), mend(t.err))}
}

// mend says what can be done about a failed call.
func mend(err error) string {
	e := (*wechat.Error)(nil)
	if !errors.As(err, &e) {
		return "Mend what it says, and look again."
	}
	switch row := wechat.Explain(e.Call, e.Code); {
	case e.HasCode && row.Fault == e.Fault:
		return row.DoEn
	case e.Fault == wechat.FaultUpstream, e.Fault == wechat.FaultUnknown:
		return "Look at this machine's way to the API: DNS, routes, proxies."
	case e.Fault == wechat.FaultConfig:
		return "Mend what it says, and look again."
	}
	return "Look again in a moment."
}

// quotaSeen is what an app may still send today.
type quotaSeen struct {
	wechat.Quota
	err       error
	perSecond float64 // rate.per_second
	perDay    int     // rate.per_day, 0 for none
	now       time.Time
}

func seeQuota(_ context.Context, s *scene, app config.App) (quotaSeen, error) {
	o, err := s.signedIn(app)
	if err != nil {
		return quotaSeen{}, err
	}
	seen := quotaSeen{perSecond: app.Rate.PerSecond, perDay: app.Rate.PerDay, now: time.Now()}
	seen.Quota, seen.err = o.quota()
	if isUnlisted(seen.err) {
		return seen, skipf("the IP list comes first")
	}
	return seen, nil
}

func judgeQuota(q quotaSeen) []Finding {
	if q.err != nil {
		return []Finding{bad(q.err.Error(), mend(q.err))}
	}
	const reset = "It begins anew at midnight, Beijing time; kefu app quota --reset does that at " +
		"once, up to 10 times a month."
	var found []Finding
	left := fmt.Sprintf("%s of %s sends are left for today", grouped(q.Remain),
		grouped(q.DailyLimit))
	switch end, known := q.usedUp(); {
	case q.DailyLimit <= 0:
	case q.Remain <= 0:
		found = append(found, bad("no send is left for today, of "+grouped(q.DailyLimit), reset))
	case q.Remain <= q.DailyLimit/10:
		found = append(found, risky(left, reset))
	case known:
		found = append(found, risky(left+", and at the day's pace none from "+
			end.In(gate.Beijing).Format("15:04")+" in Beijing", reset))
	}
	if q.DailyLimit <= 0 {
		left = "WeChat names no limit"
	}
	if q.RateSeconds > 0 && q.perSecond > float64(q.RateCalls)/float64(q.RateSeconds) {
		found = append(found, risky(fmt.Sprintf("rate.per_second is %g, and WeChat allows %s in %s",
			q.perSecond, counted(q.RateCalls, "call"), counted(q.RateSeconds, "second")),
			"Lower rate.per_second of the app."))
	}
	if q.DailyLimit > 0 && int64(q.perDay) > q.DailyLimit {
		found = append(found, risky(fmt.Sprintf("rate.per_day is %s, and WeChat allows %s",
			grouped(int64(q.perDay)), grouped(q.DailyLimit)),
			fmt.Sprintf("Set rate.per_day of the app to %d or less.", q.DailyLimit)))
	}
	return or(found, "%s", left)
}

// usedUp says when the quota ends if the day goes on as it began; false when it lasts, or little is
// used yet.
func (q quotaSeen) usedUp() (time.Time, bool) {
	next := gate.NextDay(q.now)
	begin := next.Add(-24 * time.Hour)
	if q.Used <= q.DailyLimit/4 || q.DailyLimit <= 0 {
		return time.Time{}, false
	}
	end := begin.Add(time.Duration(float64(q.now.Sub(begin)) / float64(q.Used) *
		float64(q.DailyLimit)))
	return end, end.Before(next)
}

// kfAccountsSeen are an app's kfaccounts.
type kfAccountsSeen struct {
	list []wechat.KFAccount
	err  error
}

func seeKFAccounts(ctx context.Context, s *scene, app config.App) (kfAccountsSeen, error) {
	o, err := s.signedIn(app)
	if err != nil {
		return kfAccountsSeen{}, err
	}
	list, err := o.client.KFAccounts(ctx)
	if isUnlisted(err) {
		return kfAccountsSeen{}, skipf("the IP list comes first")
	}
	return kfAccountsSeen{list, err}, nil
}

func judgeKFAccounts(k kfAccountsSeen) []Finding {
	if k.err != nil {
		return []Finding{bad(k.err.Error(), mend(k.err))}
	}
	var lapsed []string
	for _, account := range k.list {
		if account.WeChatID == "" && (account.InviteStatus == "expired" ||
			account.InviteStatus == "rejected") {
			lapsed = append(lapsed, account.Account+" ("+account.InviteStatus+")")
		}
	}
	if len(lapsed) > 0 {
		return []Finding{risky("nobody is bound to "+strings.Join(lapsed, ", "),
			"Invite the agent again, on mp.weixin.qq.com or in the customer-service client.")}
	}
	return []Finding{well("%s", counted(len(k.list), "kfaccount"))}
}
