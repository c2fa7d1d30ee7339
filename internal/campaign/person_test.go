package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

func TestWhatACampaignSentAPersonIsFoundByThePerson(t *testing.T) {
	t.Parallel()
	r := require.New(t)
	b := newBed(t)
	b.order(terms(), "alice", "bob")
	pseudonyms, err := b.conn.Pseudonyms(t.Context())
	r.NoError(err)
	book, err := ledger.Open(t.Context(), b.conn, ledger.Options{Worker: "worker", Keep: time.Hour})
	r.NoError(err)
	defer book.Close()
	id := ID(pseudonyms, app, "sale", "alice")
	for _, kind := range []ledger.Kind{ledger.Start, ledger.Sent} {
		done := make(chan error, 1)
		book.Write(ledger.Mark{Key: ledger.KeyOf(app, id), Kind: kind, Generation: 1, Attempt: 1},
			func(_ ledger.Standing, err error) { done <- err })
		r.NoError(<-done)
	}
	got, err := ToPerson(t.Context(), b.conn, []string{app}, "alice")
	r.NoError(err)
	r.Len(got, 1)
	r.Equal(Addressed{AppID: app, Campaign: "sale", ID: id, State: schema.StateSent, At: got[0].At}, got[0])
	for _, other := range []string{"bob", "carol"} {
		got, err := ToPerson(t.Context(), b.conn, []string{app}, other)
		r.NoError(err)
		r.Empty(got, other)
	}
}
