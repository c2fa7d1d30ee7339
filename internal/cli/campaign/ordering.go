package campaign

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// ordering is a start that is no dry run.
type ordering struct {
	*start
	conn  *broker.Conn
	app   config.App
	terms campaign.Terms
	now   time.Time

	prospect campaign.Prospect
	upload   *campaign.Upload

	// begun says that the campaign may be ordered: what is stored must stay.
	begun bool
}

func (o *ordering) run(ctx context.Context, filling campaign.Filling) error {
	src, err := o.open(ctx, o.app.Limits)
	if err != nil {
		return err
	}
	defer src.Close()
	o.prospect, err = campaign.Foresee(ctx, o.conn, o.terms.AppID, o.terms.Campaign)
	if err != nil {
		return err
	}
	if o.prospect.Cancelled {
		return campaign.ErrCancelled
	}
	if o.prospect.Ordered || o.prospect.Earlier {
		o.terms = o.resumed(o.terms)
	} else if err := checkBegin(o.terms, o.now); err != nil {
		return err
	}
	r, err := o.store(ctx, src, filling)
	if err == nil && !o.prospect.Ordered {
		err = o.order(ctx, r)
	}
	if err != nil {
		o.abandon(ctx)
		return err
	}
	return o.ordered(ctx, r)
}

// store reads the file, and stores its rows unless the campaign was ordered before.
func (o *ordering) store(
	ctx context.Context, src *source, filling campaign.Filling,
) (*reading, error) {
	filling.Skip = o.prospect.Skip()
	if !o.prospect.Ordered {
		var err error
		o.upload, err = campaign.NewUpload(o.conn, o.terms.AppID, o.terms.Campaign)
		if err != nil {
			return nil, err
		}
		if err := o.prospect.Announce(ctx, o.conn, o.terms, o.upload); err != nil {
			return nil, err
		}
	}
	r, err := o.readAll(ctx, src, o.upload, filling)
	if err != nil {
		return nil, err
	}
	o.describe(r)
	if err := o.prospect.Check(o.terms, r.summary.File, r.summary.Template, o.now); err != nil {
		return nil, err
	}
	if o.prospect.Ordered {
		return r, nil
	}
	return r, o.judge(r)
}

// order asks, and has the pool send what is stored.
func (o *ordering) order(ctx context.Context, r *reading) error {
	if !o.streams.Quiet {
		if err := cli.Record(o.streams.Aside(), nil, readingFields(r)); err != nil {
			return err
		}
	}
	o.warnLate(r.sent(), o.terms, speed(o.app, o.terms), time.Now())
	if o.testTo != "" {
		if err := o.test(ctx, r.samples[0]); err != nil {
			return err
		}
	}
	if err := o.ask(ctx, r); err != nil {
		return err
	}
	o.begun = true
	err := o.prospect.Order(ctx, o.conn, o.terms, campaign.File{
		Digest: r.summary.File, Template: r.summary.Template, Rows: r.summary.Rows,
		Invalid: r.summary.Invalid, Repeated: r.summary.Repeated, Closed: r.closed,
	}, o.upload)
	if err != nil {
		o.streams.Hintf("campaign %s may be ordered all the same: kefu campaign status %[1]s tells, "+
			"and the same command orders it if it is not", o.terms.Campaign)
	}
	return err
}

// abandon removes what was stored of a campaign that was not ordered.
func (o *ordering) abandon(ctx context.Context) {
	if o.begun || o.upload == nil {
		return
	}
	if ctx.Err() != nil {
		o.streams.Hintf("nothing of campaign %s was sent: the same command begins anew",
			o.terms.Campaign)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cli.AsideWait)
	defer cancel()
	// What is left of it is removed by the next start, or by a worker in time.
	_ = o.prospect.Withdraw(ctx, o.conn, o.upload)
}

// ask has the user confirm what is large and what may reach somebody twice.
func (o *ordering) ask(ctx context.Context, r *reading) error {
	cfg, err := o.settings.Config()
	if err != nil {
		return err
	}
	twice := o.prospect.MayDouble(time.Now(), cfg.Remembered(o.app))
	if twice == 0 && r.sent() <= asksFrom && o.testTo == "" {
		return nil
	}
	question := fmt.Sprintf("Send %s to users of %s", cli.Counted(r.sent(), "message"),
		o.app.Label())
	if took := takes(r.sent(), o.terms, speed(o.app, o.terms), time.Now()); took != "" {
		question += ", " + took
	}
	if twice > 0 {
		question += fmt.Sprintf(", up to %s of them for the second time",
			cli.Grouped(int64(twice)))
	}
	return o.streams.Confirm(ctx, question+"?")
}

// ordered shows the campaign that is ordered now, or was before.
func (o *ordering) ordered(ctx context.Context, r *reading) error {
	name := o.terms.Campaign
	status, err := read(ctx, o.conn, o.terms.AppID, name)
	if err != nil {
		return err
	}
	invalid := r.summary.Invalid
	if o.prospect.Ordered {
		o.streams.Notef("campaign %s was started %s by %s: nothing was ordered now", name,
			cli.Moment(status.StartedAt), status.By)
		invalid = 0
	} else {
		o.streams.Notef("campaign %s is ordered: the workers send it, whatever becomes of this "+
			"command; kefu campaign watch %[1]s follows it", name)
	}
	if o.watch {
		err := newWatching(o.streams, o.conn, o.terms.AppID, name).run(ctx)
		if err == nil && invalid > 0 {
			return leftOutRows(invalid)
		}
		return err
	}
	if goesOn(status.State) {
		carriers := newCarriers(o.streams, o.conn, name)
		carriers.Look(ctx, []string{o.terms.AppID})
	}
	return o.report(status, statusFields(status, time.Now()), invalid)
}
