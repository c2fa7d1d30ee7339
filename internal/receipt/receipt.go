// Package receipt chooses among the receipts that workers publish, and reads the latest of them.
package receipt

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Filter chooses receipts. All that is set must hold; a list holds when one of its values does. The
// zero Filter chooses all.
type Filter struct {
	AppID       string
	States      []schema.State
	Reasons     []schema.Reason
	Errcodes    []int
	Lane        schema.Lane
	Campaign    string
	Source      string
	Generation  int // 0 for any
	MinAttempts int
	Search      string // in the errmsg, in any letter case
	IDs         []string
}

// States returns those that a receipt can have.
func States() []schema.State {
	return []schema.State{schema.StateSent, schema.StateDead, schema.StateCancelled}
}

// Subject returns the narrowest subject that has every receipt that can be chosen.
func (f Filter) Subject() string {
	switch {
	case f.AppID == "":
		return wire.ReceiptFilter(wire.AnyToken)
	case len(f.States) == 1:
		return schema.ReceiptSubject(f.AppID, f.States[0])
	}
	return wire.ReceiptFilter(f.AppID)
}

// Match says whether a receipt is chosen.
func (f Filter) Match(r schema.Receipt) bool {
	switch {
	case f.AppID != "" && f.AppID != r.AppID,
		len(f.States) > 0 && !slices.Contains(f.States, r.State),
		len(f.Reasons) > 0 && !slices.Contains(f.Reasons, r.Reason),
		len(f.Errcodes) > 0 && (r.Errcode == nil || !slices.Contains(f.Errcodes, *r.Errcode)),
		f.Lane != "" && f.Lane != r.Lane,
		f.Campaign != "" && f.Campaign != r.Campaign,
		f.Source != "" && f.Source != r.Source,
		f.Generation > 0 && f.Generation != r.Generation,
		r.Attempts < f.MinAttempts,
		len(f.IDs) > 0 && !slices.Contains(f.IDs, r.ID):
		return false
	}
	return strings.Contains(strings.ToLower(r.Errmsg), strings.ToLower(f.Search))
}

// Latest is what Read found.
type Latest struct {
	Receipts []schema.Receipt // newest first
	Looked   int              // at how many of the latest receipts of all apps
	Since    time.Time        // when the first of these was stored; zero for none
}

// Read returns at most most receipts that a filter chooses among the latest within, of all apps.
func Read(
	ctx context.Context, conn *broker.Conn, f Filter, within uint64, most int,
) (Latest, error) {
	stream, err := conn.JS.Stream(ctx, schema.StreamReceipt)
	if err != nil {
		return Latest{}, err
	}
	state := stream.CachedInfo().State
	first := max(state.FirstSeq, state.LastSeq-min(within, state.LastSeq)+1)
	l := Latest{Looked: int(state.LastSeq + 1 - first)}
	options := broker.ScanOptions{Subject: f.Subject(), Seq: first}
	err = conn.Scan(ctx, schema.StreamReceipt, options, func(s broker.Stored) error {
		if l.Since.IsZero() {
			l.Since = s.Time
		}
		var r schema.Receipt
		if json.Unmarshal(s.Data, &r) != nil || r.ID == "" || !f.Match(r) {
			return nil
		}
		if l.Receipts = append(l.Receipts, r); len(l.Receipts) > 2*most {
			l.Receipts = slices.Delete(l.Receipts, 0, len(l.Receipts)-most)
		}
		return nil
	})
	l.Receipts = slices.Clone(l.Receipts[max(0, len(l.Receipts)-most):])
	slices.Reverse(l.Receipts)
	return l, err
}
