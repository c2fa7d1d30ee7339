package campaign

import (
	"testing"

	"github.com/nats-io/nats.go"
)

func TestWhatRunsIsFoundWithoutTheCampaignsThatHaveEnded(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	named := func(name string) Terms {
		terms := terms()
		terms.Campaign = name
		return terms
	}
	b.order(named("ordered"), "o1", "o2")
	b.uploaded(named("uploading"), "o1")
	b.order(named("cancelled"), "o1")
	b.NoError(Cancel(t.Context(), b.conn, app, "cancelled", "ann@desk"))
	for _, name := range []string{"straight", "straight", "ordered"} {
		m := nats.NewMsg("kefu.send." + app + ".bulk." + name)
		m.Data = packetFor("o9")
		_, err := b.conn.Outbox.PublishWait(t.Context(), m)
		b.NoError(err)
	}
	names := func(most int) (out []string, more int) {
		found, more, err := Running(t.Context(), b.conn, []string{app}, most)
		b.NoError(err)
		for _, s := range found {
			out = append(out, s.Campaign)
		}
		return out, more
	}
	got, more := names(10)
	b.ElementsMatch([]string{"ordered", "uploading", "straight"}, got)
	b.Zero(more)
	got, more = names(1)
	b.Len(got, 1)
	b.Positive(more)
}
