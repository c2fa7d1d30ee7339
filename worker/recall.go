package worker

import (
	"slices"

	"github.com/kefuhq/kefu/schema"
)

// What is in hand of a campaign when it is cancelled, or comes later, ends at once: it has a queue
// of its own, in which it waits for a slot and for no permission. So it ends while the app's rate
// is slow, and while a hold is tried. What no worker has in hand is swept (package campaign).

// recall has what is in hand of campaigns that were cancelled end at once.
func (a *app) recall() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.scheduler.recall() {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	a.schedule()
}

// isCancelled says whether a delivery is of a campaign that was cancelled.
func (s *scheduler) isCancelled(d *delivery) bool {
	return d.line.kind == schema.LaneBulk && s.cancelled(d.subject.Key)
}

// recall has what is in hand of campaigns that were cancelled wait for nothing but a
// slot. It returns what waited for a time.
func (s *scheduler) recall() (waited []*delivery) {
	bulk := s.bulk()
	var rest queue
	for d := range bulk.ready.all() {
		if s.isCancelled(d) {
			bulk.recalled.pushBack(d)
		} else {
			rest.pushBack(d)
		}
	}
	bulk.ready = rest
	for _, d := range s.inHand {
		if d.place == waiting && s.isCancelled(d) {
			waited = append(waited, d)
			s.retryNow(d)
		}
	}
	return waited
}

// nextRecalled is the next that is to be cancelled with its campaign; nil for none, and
// every other time while live is ready: a million that are cancelled hold nobody up.
func (s *scheduler) nextRecalled() *delivery {
	recalled := &s.bulk().recalled
	if recalled.len() == 0 {
		return nil
	}
	isReady := func(l *line) bool { return l.ready.len() > 0 && !l.draining }
	s.liveFirst = !s.liveFirst && slices.ContainsFunc(s.shards(), isReady)
	if s.liveFirst {
		return nil
	}
	return recalled.first()
}

// recalling says whether anything is to be cancelled with its campaign.
func (s *scheduler) recalling() bool { return s.bulk().recalled.len() > 0 }

// recalled says whether a delivery's campaign was cancelled, and whether the campaign's receipt
// tells of it: without a ledger nobody counts what ends here, so it has one of its own.
func (e *engine) recalled(d *delivery) (recalled, withCampaign bool) {
	if !e.withdrawals.CampaignCancelled(e.appID, d.campaignName()) {
		return false, false
	}
	return true, e.book != nil
}
