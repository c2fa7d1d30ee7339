package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

func TestPercentilesAreValuesThatWereSeen(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for name, row := range map[string]struct {
		sorted []int
		share  float64
		want   int
	}{
		"the half of a hundred":       {hundred, 0.50, 50},
		"nine tenths of a hundred":    {hundred, 0.90, 90},
		"all but one of a hundred":    {hundred, 0.99, 99},
		"the largest":                 {hundred, 1, 100},
		"the median of three":         {[]int{1, 5, 9}, 0.50, 5},
		"of few the 99th is the last": {[]int{1, 5, 9}, 0.99, 9},
		"of one everything is it":     {[]int{7}, 0.01, 7},
	} {
		require.Equal(t, row.want, percentile(row.sorted, row.share), name)
	}
}

func TestTheBusiestSecondIsAnySecond(t *testing.T) {
	t.Parallel()
	at := func(ms ...int64) []int64 {
		for i := range ms {
			ms[i] *= int64(time.Millisecond)
		}
		return ms
	}
	for name, row := range map[string]struct {
		at   []int64
		want int
	}{
		"nothing": {nil, 0},
		"one":     {at(5), 1},
		"two, a second apart, are in no one second": {at(0, 1000), 1},
		"two, a little less apart":                  {at(0, 999), 2},
		"a second that begins between full ones":    {at(0, 600, 700, 1500, 1599, 2600), 4},
		"out of order, as calls at once are":        {at(700, 600, 1500), 3},
		"all at once":                               {at(3, 3, 3), 3},
	} {
		require.Equal(t, row.want, maxWithin(row.at, time.Second), name)
	}
}

func TestPaceCountsTheStepsBetweenMoments(t *testing.T) {
	t.Parallel()
	perSecond, seconds := pace([]int64{int64(2 * time.Second), 0, int64(time.Second)})
	require.Equal(t, 1.0, perSecond)
	require.Equal(t, 2.0, seconds)
	for _, few := range [][]int64{nil, {1}, {1, 1}} {
		perSecond, seconds = pace(few)
		require.Zero(t, perSecond)
		require.Zero(t, seconds)
	}
}

func TestTheRecordTellsWhatBecameOfEachIntent(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000_000, 0)
	post := func(
		app string, m mark, published, received time.Duration, delivered bool,
	) sandbox.Record {
		m.at = start.Add(published).UnixNano()
		return sandbox.Record{AppID: app, At: start.Add(received), Body: string(m.packet("oUser1")),
			Delivered: delivered}
	}
	first := mark{kind: offered, lane: schema.LaneLive, n: 0}
	second := mark{kind: offered, lane: schema.LaneBulk, n: 1}
	third := mark{kind: backlog, lane: schema.LaneBulk, n: 2}
	other := mark{kind: troubled, lane: schema.LaneLive, n: 3}
	records := []sandbox.Record{
		{AppID: "wx1", Body: `{"touser":"oUser1"}`, Delivered: true}, // somebody else's
		post("wx1", mark{kind: warmup, lane: schema.LaneLive, n: 4}, 0, 0, true),
		post("wx1", third, 0, 1*time.Second, true),
		post("wx1", first, 1*time.Second, 1002*time.Millisecond, false),
		post("wx1", first, 1*time.Second, 2*time.Second, true),
		post("wx1", second, 1*time.Second, 3*time.Second, true),
		post("wx1", second, 1*time.Second, 3500*time.Millisecond, true),
		post("wx1", second, 1*time.Second, 3600*time.Millisecond, true),
		post("wx2", other, 1*time.Second, 9*time.Second, true),
	}
	got := count(&Load{PerSecond: 10, Burst: 5}, slices.Values(records), start.Add(2*time.Second))
	require.Equal(t, &Latency{N: 1, P50: 1000, P90: 1000, P99: 1000, Max: 1000}, got.live)
	require.Equal(t, &Latency{N: 1, P50: 2000, P90: 2000, P99: 2000, Max: 2000}, got.bulk,
		"the first delivery counts")
	require.Equal(t, 1.0, got.perSecond, "the troubled apps' intents do not")
	require.Equal(t, Budget{Limit: 10, Allowed: 15, Most: 3, Mean: 1.92}, got.budget,
		"every post does, of the app that sent most")
	require.Equal(t, Intents{
		Delivered: 4, Repeated: 1, Busy: 1, PostsPerIntent: 6.0 / 4,
		Healthy: InTime{Delivered: 1},
	}, got.intents)
}

func TestAnIntentSaysWhichItIs(t *testing.T) {
	t.Parallel()
	m := mark{kind: backlog, lane: schema.LaneBulk, n: 17, at: 1_764_322_222_000_000_000}
	packet := m.packet("oUser1")
	_, err := schema.Decode(packet, schema.Limits{})
	require.NoError(t, err)
	got, ok := readMark(string(packet))
	require.True(t, ok)
	require.Equal(t, m, got)
	require.Contains(t, string(packet), backlog.prefix())
	for _, other := range []string{"", `{"touser":"oUser1"}`, markPrefix,
		markPrefix + "backlog bulk 1",
		markPrefix + "backlog bulk x 1 .", markPrefix + "backlog bulk -1 1 ."} {
		_, ok := readMark(other)
		require.False(t, ok, other)
	}
}

func FuzzReadMark(f *testing.F) {
	f.Add(string(mark{kind: offered, lane: schema.LaneLive, n: 3, at: 4}.packet("oUser1")))
	f.Add(markPrefix + "a b 1 2 3")
	f.Fuzz(func(t *testing.T, packet string) {
		if m, ok := readMark(packet); ok {
			require.GreaterOrEqual(t, m.n, 0)
			require.Contains(t, packet, m.kind.prefix())
		}
	})
}
