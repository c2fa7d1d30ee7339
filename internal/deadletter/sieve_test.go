package deadletter

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// filter makes one that chooses a letter rather often.
func (r random) filter(l *schema.Letter) Filter {
	other := r.letter()
	pick := func() *schema.Letter {
		if r.IntN(4) == 0 {
			return other
		}
		return l
	}
	var f Filter
	for _, set := range []func(*schema.Letter){
		func(l *schema.Letter) { f.AppID = l.AppID },
		func(l *schema.Letter) { f.IDs = []string{l.ID, "another"} },
		func(l *schema.Letter) { f.Reasons = []schema.Reason{l.Reason} },
		func(l *schema.Letter) {
			if l.Errcode != nil {
				f.Errcodes = []int{45047, *l.Errcode}
			}
		},
		func(l *schema.Letter) { f.Lane = l.Lane },
		func(l *schema.Letter) { f.Campaign = l.Campaign },
		func(l *schema.Letter) { f.Source = l.Source },
		func(l *schema.Letter) { f.OpenID = l.OpenID },
		func(l *schema.Letter) { f.Generation = l.Generation },
		func(l *schema.Letter) { f.Since = l.DiedAt },
		func(l *schema.Letter) { f.Until = l.DiedAt.Add(time.Minute) },
		func(l *schema.Letter) { f.Text = l.Errmsg },
		func(l *schema.Letter) { f.Text = l.Detail },
		func(l *schema.Letter) { f.Group = fingerprintOf(l).id() },
		func(l *schema.Letter) { f.MinAttempts = len(l.Attempts) },
	} {
		if r.IntN(4) == 0 {
			set(pick())
		}
	}
	return f
}

func TestASieveChoosesWhatTheFilterChoosesOfTheWholeLetter(t *testing.T) {
	t.Parallel()
	r := random{rand.New(rand.NewPCG(7, 8))}
	chosen := 0
	const n = 5_000
	for i := range n {
		l := r.letter()
		f := r.filter(l)
		data, err := encode(l, 0)
		require.NoError(t, err)
		stored := broker.Stored{Data: data, Seq: uint64(i), Time: noon,
			Subject: "kefu.dead." + app + ".expired"}
		whole := itemOf(stored)
		want := f.Match(&whole.Letter)

		sieve := newSieve(f)
		got, ok := sieve.item(stored)
		require.Equal(t, want, ok, "%+v %s", f, data)
		skimming := skimming(f)
		skimmed, ok := skimming.item(stored)
		require.Equal(t, want, ok, "%+v %s", f, data)
		if !want {
			continue
		}
		chosen++
		require.Equal(t, whole, got)
		require.Equal(t, whole.Broken, skimmed.Broken)
		require.Equal(t, whole.raw, skimmed.raw)
		require.Equal(t, fingerprintOf(&whole.Letter), fingerprintOf(&skimmed.Letter))
	}
	require.Greater(t, chosen, n/20)
}

func TestWhatIsNoLetterIsChosenByItsPlace(t *testing.T) {
	t.Parallel()
	stranger := broker.Stored{Data: []byte("by hand"), Subject: "kefu.dead." + app + ".expired",
		Time: noon}
	for want, f := range map[bool]Filter{
		true:  {AppID: app, Reasons: []schema.Reason{schema.ReasonExpired}, Text: "by hand?"},
		false: {AppID: "wx2"},
	} {
		for _, s := range []sieve{newSieve(f), skimming(f)} {
			item, ok := s.item(stranger)
			require.Equal(t, want, ok)
			require.True(t, item.Broken)
		}
	}
}
