package pool

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// everyone serves the same apps.
func everyone(apps []string, names ...string) map[string]map[string]bool {
	out := make(map[string]map[string]bool)
	for _, name := range names {
		out[name] = make(map[string]bool)
		for _, app := range apps {
			out[name][app] = true
		}
	}
	return out
}

func shardsOf(n int, apps ...string) []Shard {
	var out []Shard
	for _, app := range apps {
		for i := range n {
			out = append(out, Shard{app, i})
		}
	}
	return out
}

func count(owner map[Shard]string) map[string]int {
	out := make(map[string]int)
	for _, name := range owner {
		out[name]++
	}
	return out
}

// moved is how many shards have another reader than before.
func moved(before, after map[Shard]string) int {
	n := 0
	for shard, name := range before {
		if after[shard] != name {
			n++
		}
	}
	return n
}

func TestShardsAreSpread(t *testing.T) {
	t.Parallel()
	a := []string{"a"}
	all := func(name string) map[Shard]string {
		out := make(map[Shard]string)
		for _, s := range shardsOf(4, "a") {
			out[s] = name
		}
		return out
	}
	for _, c := range []struct {
		name   string
		serves map[string]map[string]bool
		shards []Shard
		holder map[Shard]string
		load   map[string]int
		want   map[string]int
		moves  int
	}{
		{"one worker has all",
			everyone(a, "w1"), shardsOf(4, "a"), nil, nil, map[string]int{"w1": 4}, 0},
		{"two have half each", everyone(a, "w1", "w2"), shardsOf(4, "a"), nil, nil,
			map[string]int{"w1": 2, "w2": 2}, 0},
		{"nobody has none", everyone(a), shardsOf(4, "a"), nil, nil, map[string]int{}, 0},
		{"who comes gets a share of who has all",
			everyone(a, "w1", "w2"), shardsOf(4, "a"), all("w1"), nil,
			map[string]int{"w1": 2, "w2": 2}, 2},
		{"an even spread is left alone", everyone(a, "w1", "w2", "w3"), shardsOf(3, "a"),
			map[Shard]string{{"a", 0}: "w3", {"a", 1}: "w1", {"a", 2}: "w2"}, nil,
			map[string]int{"w1": 1, "w2": 1, "w3": 1}, 0},
		{"a difference of one is even", everyone(a, "w1", "w2"), shardsOf(3, "a"),
			map[Shard]string{{"a", 0}: "w1", {"a", 1}: "w1", {"a", 2}: "w2"}, nil,
			map[string]int{"w1": 2, "w2": 1}, 0},
		{"what the dead had goes to the living",
			everyone(a, "w1", "w2"), shardsOf(4, "a"), all("dead"), nil,
			map[string]int{"w1": 2, "w2": 2}, 4},
		{"other apps count", everyone(a, "w1", "w2"), shardsOf(4, "a"), nil,
			map[string]int{"w1": 4}, map[string]int{"w2": 4}, 0},
		{"who does not serve an app gets nothing of it",
			map[string]map[string]bool{"w1": {"a": true}, "w2": {"b": true}}, shardsOf(4, "a"), nil,
			nil, map[string]int{"w1": 4}, 0},
		{"nor keeps it", map[string]map[string]bool{"w1": {"a": true}, "w2": {"b": true}},
			shardsOf(4, "a"), all("w2"), nil, map[string]int{"w1": 4}, 4},
		{"who serves little takes over from who serves much",
			map[string]map[string]bool{"w1": {"a": true, "b": true}, "w2": {"a": true}},
			shardsOf(4, "a", "b"), nil, nil, map[string]int{"w1": 4, "w2": 4}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := spread(c.serves, c.shards, c.holder, c.load)
			require.Equal(t, c.want, count(got))
			require.Equal(t, c.moves, moved(c.holder, got))
		})
	}
}

func TestASpreadIsEvenSteadyAndTheSameForAll(t *testing.T) {
	t.Parallel()
	var apps []string
	for i := range 40 {
		apps = append(apps, fmt.Sprint("wx", i))
	}
	shards := shardsOf(4, apps...)
	even := func(owner map[Shard]string, workers int) {
		t.Helper()
		n := count(owner)
		require.Len(t, n, workers)
		for name, has := range n {
			require.InDelta(t, len(shards)/workers, has, 1, name)
		}
		require.Len(t, owner, len(shards))
	}
	names := []string{"w1", "w2", "w3", "w4", "w5"}
	first := spread(everyone(apps, names...), shards, nil, nil)
	even(first, 5)

	mixed := make([]Shard, 0, len(shards))
	for _, i := range rand.Perm(len(shards)) {
		mixed = append(mixed, shards[i])
	}
	require.Equal(t, first, spread(everyone(apps, names...), mixed, nil, nil),
		"the order in which it is known does not count")
	require.Equal(t, first, spread(everyone(apps, names...), shards, first, nil),
		"it is what it leads to")

	less := spread(everyone(apps, names[:4]...), shards, first, nil)
	even(less, 4)
	require.Equal(t, count(first)["w5"], moved(first, less), "only what the fifth had is moved")
	more := spread(everyone(apps, append(names, "w6")...), shards, first, nil)
	even(more, 6)
	require.Equal(t, count(more)["w6"], moved(first, more), "only what the sixth gets is moved")

	together := 0
	for _, app := range apps {
		of := make(map[string]int)
		for i := range 4 {
			of[first[Shard{app, i}]]++
		}
		for _, n := range of {
			together = max(together, n)
		}
	}
	require.LessOrEqual(t, together, 2, "an app's shards are with different workers")
}

func TestTheSpreadsOfWorkersThatServeDifferentAppsAgree(t *testing.T) {
	t.Parallel()
	serves := map[string]map[string]bool{"w1": {"a": true, "b": true}, "w2": {"a": true}}
	holder := make(map[Shard]string)
	for _, s := range shardsOf(4, "a", "b") {
		holder[s] = "w1"
	}
	one := spread(serves, shardsOf(4, "a", "b"), holder, nil)
	two := spread(serves, shardsOf(4, "a"), holder, map[string]int{"w1": 4})
	for _, s := range shardsOf(4, "a") {
		require.Equal(t, "w2", one[s])
		require.Equal(t, "w2", two[s])
	}
	require.Equal(t, map[string]int{"w1": 4, "w2": 4}, count(one))
	require.True(t, maps.Equal(map[string]int{"w2": 4}, count(two)))
}

// BenchmarkSpread is one look of a worker at 300 apps when another one has come.
func BenchmarkSpread(b *testing.B) {
	var apps, names []string
	for i := range 300 {
		apps = append(apps, fmt.Sprint("wx", i))
	}
	for i := range 10 {
		names = append(names, fmt.Sprint("w", i))
	}
	shards := shardsOf(4, apps...)
	before := spread(everyone(apps, names[:9]...), shards, nil, nil)
	serves := everyone(apps, names...)
	for b.Loop() {
		spread(serves, shards, before, nil)
	}
}
