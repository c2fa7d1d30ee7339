// Package forget takes a person out of what kefu stores, as they may demand by law: what is queued
// for them and what waits, their dead letters and their receipts.
//
// Where an openid or the text of a message can lie, and what becomes of it:
//
//	KEFU_SEND_<appid>  subject, packet     removed; it ends as cancelled
//	KEFU_LATER         header, packet      removed; it ends as cancelled
//	KEFU_CAMPAIGN      rows of campaigns   emptied; one that is not fed yet counts as cancelled
//	KEFU_DEAD          letters             removed
//	KEFU_JOB           edited.<appid>.…    removed: the original of a letter that was edited
//	                   job.<job>.order     left, and said: what a job does depends on it
//	KEFU_RECEIPT       no openid; ids      removed where the id tells whose it is
//	KEFU_DEAD_INDEX    hashes of ids       left until they end with their letters
//	KEFU_LEDGER        hashes of ids       left: they keep what was sent from being sent again
//	KEFU_AUDIT         hash of the openid  left: nobody can change the audit
//	KEFU_STATE         hash of the openid  the order of package withdrawal
//
// What cannot be found is not stored yet, as what is still to come of a file, or is in somebody's
// hands, as a worker's, which may be feeding a campaign, or a replay's. So an order that workers
// obey comes first. An intent whose call is under way is left to its worker: it cannot be recalled,
// and only that worker knows how it ends. All others end here as they would at a worker: receipt,
// mark of the ledger, and only then is the message gone. Should a worker that has not heard of the
// order send one nevertheless, its mark overrules ours.
//
//	plan, err := forget.Look(ctx, conn, person)
//	result, err := forget.Forget(ctx, conn, person, options)
package forget

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
)

// Person is who is to be forgotten, and in which apps.
type Person struct {
	OpenID string
	Apps   []intent.App
}

// Options say how.
type Options struct {
	By string // who orders it, for the audit

	// ExpireAfter is the longest time after which an intent of one of the apps expires, by the
	// settings. The order is kept for as long, and for at least as long as a dead letter.
	ExpireAfter time.Duration

	// Receipts says, where no worker is there to say it, whether workers store receipts of what was
	// cancelled.
	Receipts bool

	// Progress is told what is being done. nil if nobody wants to know.
	Progress func(doing string)

	callsEnd time.Duration // how long calls under way are waited for; 0 for callsEnd
}

// Found counts what is stored of a person.
type Found struct {
	Queued   int `json:"queued"`
	Waiting  int `json:"waiting"`
	Letters  int `json:"letters"`
	Edited   int `json:"edited"` // originals of letters that were edited
	Receipts int `json:"receipts"`
	Rows     int `json:"rows"` // of campaigns' files, as they are stored to be fed
}

// Total is how many things that are.
func (f Found) Total() int {
	return f.Queued + f.Waiting + f.Letters + f.Edited + f.Receipts + f.Rows
}

// Order is what workers obey from now on in an app.
type Order struct {
	AppID     string    `json:"app"`
	At        time.Time `json:"at"`    // nothing is sent of what was published before
	Until     time.Time `json:"until"` // the order is kept until then
	Campaigns []string  `json:"campaigns,omitempty"`
}

// Result is what was done.
type Result struct {
	Person  string    `json:"person"` // the pseudonym of the openid
	Removed Found     `json:"removed"`
	Left    int       `json:"in_flight"` // intents whose call did not end meanwhile
	Deaf    int       `json:"deaf"`      // workers of earlier versions, which do not know the orders
	Orders  []Order   `json:"orders"`
	Remains []Remnant `json:"remains"`
}

// Plan is what Forget would do now.
type Plan struct {
	Person string `json:"person"` // the pseudonym of the openid
	Found
	Campaigns []string `json:"campaigns,omitempty"` // under way: they may feed more for the person
}

// Look counts what is stored of a person, and changes nothing.
func Look(ctx context.Context, conn *broker.Conn, p Person) (Plan, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Person: pseudonyms.Of(p.OpenID)}
	for _, app := range p.Apps {
		r := &removal{conn: conn, pseudonyms: pseudonyms, app: app, openID: p.OpenID,
			found: &plan.Found, through: time.Now().Add(clockSkew), lookOnly: true}
		if err := r.readBefore(ctx); err != nil {
			return plan, err
		}
		if err := r.run(ctx); err != nil {
			return plan, err
		}
		under, err := campaign.Unfinished(ctx, conn, app.ID)
		if err != nil {
			return plan, err
		}
		for _, c := range under {
			plan.Campaigns = append(plan.Campaigns, c.Campaign)
		}
	}
	return plan, nil
}

// clockSkew is by how much the broker's clock may be ahead of this machine's.
const clockSkew = 10 * time.Minute

// Forget orders the workers to send the person nothing more of what was published before, and
// removes what is stored. It begins and ends with an entry in the audit, and may be interrupted and
// run again at any time; the result says how far it came in either case.
func Forget(ctx context.Context, conn *broker.Conn, p Person, o Options) (Result, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return Result{}, err
	}
	result := Result{Person: pseudonyms.Of(p.OpenID)}
	entry := broker.AuditEntry{Actor: o.By, Verb: "forget", Filter: "openid=#" + result.Person}
	if len(p.Apps) == 1 {
		entry.AppID = p.Apps[0].ID
	}
	err = conn.Audited(ctx, entry, "", func() (int, string, error) {
		err := result.forget(ctx, conn, pseudonyms, p, o)
		return result.Removed.Total(), result.words(err), err
	})
	return result, err
}

func (res *Result) forget(
	ctx context.Context, conn *broker.Conn, pseudonyms broker.Pseudonyms, p Person, o Options,
) error {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	o.callsEnd = cmp.Or(o.callsEnd, callsEnd)
	var left []Remnant
	for _, app := range p.Apps {
		r := &removal{conn: conn, pseudonyms: pseudonyms, app: app, openID: p.OpenID, options: o,
			found: &res.Removed}
		order, err := r.order(ctx)
		if err != nil {
			return err
		}
		res.Orders = append(res.Orders, order)
		if err := r.run(ctx); err != nil {
			return err
		}
		res.Left += len(r.open)
		left = append(left, r.left...)
	}
	workers, err := pool.Workers(ctx, conn)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if !w.Forgets {
			res.Deaf++
		}
	}
	res.Remains, err = remains(ctx, conn, res.Orders, left)
	return err
}

// order stores the order of an app.
func (r *removal) order(ctx context.Context) (Order, error) {
	if err := r.readBefore(ctx); err != nil {
		return Order{}, err
	}
	now := time.Now()
	keep, err := r.keep(ctx)
	if err != nil {
		return Order{}, err
	}
	under, err := campaign.Unfinished(ctx, r.conn, r.app.ID)
	if err != nil {
		return Order{}, err
	}
	f := withdrawal.Forgetting{By: r.options.By}
	for _, c := range under {
		f.Campaigns = append(f.Campaigns, c.Campaign)
		if c.Uploading(now) {
			r.left = append(r.left, Remnant{Where: wire.StreamCampaign, What: "campaign " +
				c.Campaign + ", whose file is being uploaded: run it again when that is over"})
		}
		keep = max(keep, c.SendAt.Sub(now)+r.options.ExpireAfter, c.ExpiresAt.Sub(now))
	}
	f, err = withdrawal.Forget(ctx, r.conn, r.pseudonyms, r.app.ID, r.openID, f, keep)
	if r.through = f.At; r.first.IsZero() {
		r.first = f.At
	}
	return Order{r.app.ID, f.At.UTC(), f.At.Add(keep).UTC(), f.Campaigns}, err
}

// readBefore reads since when an order about the person stands.
func (r *removal) readBefore(ctx context.Context) error {
	f, _, err := withdrawal.ReadForgetting(ctx, r.conn, r.pseudonyms, r.app.ID, r.openID)
	r.first = f.At
	return err
}

// words are the result as the audit keeps it.
func (res *Result) words(err error) string {
	s := "removed " + res.Removed.String()
	if res.Left > 0 {
		s += fmt.Sprintf("; left %d in flight", res.Left)
	}
	if err != nil {
		s += "; interrupted"
	}
	return s
}

// String says what was found: "2 queued, 1 waiting, 1 dead letter".
func (f Found) String() string {
	var words []string
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{f.Queued, "queued", "queued"}, {f.Waiting, "waiting", "waiting"},
		{f.Letters, "dead letter", "dead letters"},
		{f.Edited, "letter as it was before an edit", "letters as they were before an edit"},
		{f.Receipts, "receipt", "receipts"},
		{f.Rows, "row of a campaign", "rows of campaigns"},
	} {
		switch part.n {
		case 0:
		case 1:
			words = append(words, "1 "+part.one)
		default:
			words = append(words, fmt.Sprintf("%d %s", part.n, part.many))
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}
