package forget

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// letters removes the person's dead letters. It does not leave those that a replay has in hand, as
// a discard does: what that publishes is older than the order, and workers do not send it.
func (r *removal) letters(ctx context.Context) error {
	var seqs []uint64
	filter := deadletter.Filter{AppID: r.app.ID, OpenID: r.openID}
	err := deadletter.Open(r.conn).List(ctx, filter, func(i deadletter.Item) error {
		if !i.Letter.PublishedAt.After(r.through) {
			seqs, r.ids[i.Letter.ID] = append(seqs, i.Seq), true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.erase(ctx, schema.StreamDead, seqs, &r.found.Letters)
}

// erase removes messages of a stream and counts them.
func (r *removal) erase(ctx context.Context, stream string, seqs []uint64, n *int) error {
	if r.lookOnly {
		*n += len(seqs)
		return nil
	}
	for _, seq := range seqs {
		err := r.conn.Erase(ctx, stream, seq)
		if errors.Is(err, broker.ErrNoMessage) {
			continue // somebody else was quicker
		}
		if err != nil {
			return err
		}
		*n++
	}
	return nil
}

// editedPrefix is what the keys begin with under which KEFU_JOB has the letters that were edited
// for a replay, as they were: edited.<appid>.….
const editedPrefix = "edited."

// jobRecords removes the originals of edited letters, and notes what else of KEFU_JOB names the
// person.
func (r *removal) jobRecords(ctx context.Context) error {
	entries, err := r.conn.ReadJobs(ctx, "")
	if err != nil {
		return err
	}
	needle, err := json.Marshal(r.openID)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case !bytes.Contains(e.Value, needle):
		case strings.HasPrefix(e.Key, editedPrefix):
			err = r.removeEdited(ctx, e)
		default:
			r.left = append(r.left, jobRemnant(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *removal) removeEdited(ctx context.Context, e broker.StateEntry) error {
	var edited struct {
		Letter schema.Letter `json:"letter"`
	}
	if json.Unmarshal(e.Value, &edited) != nil {
		return nil // nobody knows whose it is
	}
	l := &edited.Letter
	if l.AppID != r.app.ID || l.OpenID != r.openID || l.PublishedAt.After(r.through) {
		return nil
	}
	r.ids[l.ID] = true
	if !r.lookOnly {
		if _, err := r.conn.Outbox.PublishWait(ctx, broker.DeleteJob(e.Key)); err != nil {
			return err
		}
	}
	r.found.Edited++
	return nil
}

// receipts removes the receipts of the person's intents. They name no recipient: whose they are is
// known from what else is stored of the intent, from the id of a campaign's intent, which is made
// of the recipient, or because the producer has put the openid into the id.
func (r *removal) receipts(ctx context.Context) error {
	var seqs []uint64
	campaigns := make(map[string][]string) // the ids that the person may have in each
	err := r.conn.Sweep(ctx, schema.StreamReceipt,
		broker.ScanOptions{Subject: wire.ReceiptFilter(r.app.ID)},
		func(s broker.Stored) error {
			var receipt schema.Receipt
			if json.Unmarshal(s.Data, &receipt) != nil || receipt.PublishedAt.After(r.through) {
				return nil
			}
			ids, known := campaigns[receipt.Campaign]
			if receipt.Campaign != "" && !known {
				ids = campaign.IDs(r.pseudonyms, r.app.ID, receipt.Campaign, r.openID)
				campaigns[receipt.Campaign] = ids
			}
			named := strings.Contains(receipt.ID, r.openID)
			its := r.ids[receipt.ID] || slices.Contains(ids, receipt.ID)
			its = named || its && receipt.Count == 0 // else the ID is a campaign's name
			if its && (named || !r.ofForgetting(receipt)) {
				seqs = append(seqs, s.Seq)
			}
			return nil
		})
	if err != nil {
		return err
	}
	return r.erase(ctx, schema.StreamReceipt, seqs, &r.found.Receipts)
}

// ofForgetting says whether a receipt tells that an intent was cancelled because its recipient was
// forgotten, by this order or by the one before. It tells its producer so, and nobody who that is.
func (r *removal) ofForgetting(receipt schema.Receipt) bool {
	return receipt.State == schema.StateCancelled && !r.first.IsZero() &&
		!receipt.SettledAt.Add(settleSkew).Before(r.first)
}

// settleSkew is by how much the clocks of a worker and of the broker may differ.
const settleSkew = time.Minute

// rows takes the person out of what campaigns have stored to be fed.
func (r *removal) rows(ctx context.Context) error {
	n, err := campaign.Forget(ctx, r.conn, r.app.ID, r.openID, r.lookOnly)
	r.found.Rows += n
	return err
}
