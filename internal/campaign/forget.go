package campaign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/wire"
)

// Forget takes a person out of the stored rows of an app's campaigns, whether they are fed or not,
// and returns how many rows named them. A row that is taken out before it is fed never is. With
// lookOnly nothing is changed. A chunk that cannot be read is an error, and the others are dealt
// with nevertheless.
//
// A worker may have read a chunk shortly before: an order has to keep from being sent what it feeds
// of it, see [Unfinished].
func Forget(
	ctx context.Context, conn *broker.Conn, appID, openID string, lookOnly bool,
) (n int, err error) {
	w, err := newChunkWriter()
	if err != nil {
		return 0, err
	}
	chunks, unread, err := chunksOf(ctx, conn, appID, openID)
	if err != nil {
		return 0, err
	}
	for _, s := range chunks {
		taken, err := forgetIn(ctx, conn, w, s, openID, lookOnly)
		if n += taken; err != nil {
			return n, fmt.Errorf("take a person out of the rows of campaigns: %w", err)
		}
	}
	return n, unread
}

// chunksOf finds the chunks of an app that name a person. unread tells of those that cannot be
// read.
func chunksOf(
	ctx context.Context, conn *broker.Conn, appID, openID string,
) (chunks []broker.Stored, unread, err error) {
	filter := wire.ChunkFilter(appID, wire.AnyToken, wire.AnyToken)
	err = conn.Scan(ctx, wire.StreamCampaign, broker.ScanOptions{Subject: filter},
		func(s broker.Stored) error {
			raw, _, err := unpackChunk(s.Data)
			switch {
			case err != nil:
				unread = fmt.Errorf("%s may still name the person: %w", s.Subject, err)
			case bytes.Contains(raw, []byte(openID)):
				chunks = append(chunks, s)
			}
			return nil
		})
	if errors.Is(err, broker.ErrNoStream) { // of an earlier version, which had none
		err = nil
	}
	return chunks, unread, err
}

// readAgain is how long a node of the broker is given to hear of what another has stored.
const readAgain = 50 * time.Millisecond

// forgetIn takes a person out of one chunk, and returns how many rows named them.
func forgetIn(
	ctx context.Context, conn *broker.Conn, w *chunkWriter, s broker.Stored, openID string,
	lookOnly bool,
) (int, error) {
	for {
		body, n, err := without(w, s.Data, openID)
		if err != nil || n == 0 || lookOnly {
			return n, err
		}
		m := nats.NewMsg(s.Subject)
		m.Data = body
		if name := s.Header.Get(headerCampaign); name != "" {
			m.Header.Set(headerCampaign, name)
		}
		_, err = conn.SaveAfter(ctx, m, s.Seq)
		if !errors.Is(err, broker.ErrOvertaken) {
			return n, err
		}
		// Somebody else has taken another person out, the upload is removed, or it was this writing,
		// whose answer was lost.
		switch again, err := lastChunk(ctx, conn, s.Subject); {
		case errors.Is(err, broker.ErrNoMessage):
			return n, nil
		case err != nil:
			return 0, err
		case bytes.Equal(again.Data, body):
			return n, nil
		case again.Seq == s.Seq: // the node that answers has not heard of it yet
			if err := pause.For(ctx, readAgain); err != nil {
				return 0, err
			}
		default:
			s = again
		}
	}
}

// lastChunk reads a chunk as it is stored now.
func lastChunk(
	ctx context.Context, conn *broker.Conn, subject string,
) (last broker.Stored, err error) {
	found := false
	err = conn.Scan(ctx, wire.StreamCampaign, broker.ScanOptions{Subject: subject},
		func(s broker.Stored) error {
			last, found = s, true
			return nil
		})
	if err == nil && !found {
		err = broker.ErrNoMessage
	}
	return last, err
}

// without is a chunk with the rows of a person emptied, of which there are n.
func without(w *chunkWriter, stored []byte, openID string) (body []byte, n int, err error) {
	rows, err := readChunk(stored)
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if row.OpenID == openID {
			row.OpenID, row.Packet = "", nil
			n++
		}
		w.add(row)
	}
	return w.end(), n, nil
}
