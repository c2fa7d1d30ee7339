package pool

import (
	"cmp"
	"slices"
)

// Shard is one live shard of an app.
type Shard struct {
	App string
	N   int
}

func compareShards(a, b Shard) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.N, b.N))
}

// spread says which worker is to read which shard. It depends on nothing but what every worker
// knows, so that all come to the same answer without talking to each other; where they know
// different things for a moment, a claim is still won by one alone, and they agree soon.
//
// No worker has two shards more than another that could take one. Nothing is moved that need not
// be: each move costs its recipients a pause. Among equals the shards of one app go to different
// workers.
//
// serves names the workers that may take shards and their apps, holder who has a shard now, and
// load what a worker has besides shards.
func spread(
	serves map[string]map[string]bool, shards []Shard, holder map[Shard]string, load map[string]int,
) map[Shard]string {
	s := spreading{
		serves: serves, owner: make(map[Shard]string, len(shards)), has: make(map[string][]Shard),
		load: make(map[string]int), ofApp: make(map[string]map[string]int),
	}
	for name := range serves {
		s.names = append(s.names, name)
		s.load[name] = load[name]
	}
	slices.Sort(s.names)
	shards = slices.SortedFunc(slices.Values(shards), compareShards)
	for _, shard := range shards {
		if name := holder[shard]; serves[name][shard.App] {
			s.give(shard, name)
		}
	}
	for _, shard := range shards {
		if s.owner[shard] == "" {
			s.give(shard, s.neediest(shard))
		}
	}
	for s.even() {
	}
	return s.owner
}

type spreading struct {
	serves map[string]map[string]bool
	names  []string
	owner  map[Shard]string
	has    map[string][]Shard
	load   map[string]int
	ofApp  map[string]map[string]int // by app and worker
}

func (s *spreading) give(shard Shard, name string) {
	if before := s.owner[shard]; before != "" {
		s.load[before]--
		s.ofApp[shard.App][before]--
		s.has[before] = slices.DeleteFunc(s.has[before], func(x Shard) bool { return x == shard })
	}
	if name == "" {
		return
	}
	if s.ofApp[shard.App] == nil {
		s.ofApp[shard.App] = make(map[string]int)
	}
	s.owner[shard] = name
	s.load[name]++
	s.ofApp[shard.App][name]++
	s.has[name] = append(s.has[name], shard)
}

// neediest is the worker that a shard without one goes to.
func (s *spreading) neediest(shard Shard) string {
	best := ""
	for _, name := range s.names {
		if s.serves[name][shard.App] && (best == "" || s.before(shard, name, best)) {
			best = name
		}
	}
	return best
}

func (s *spreading) before(shard Shard, a, b string) bool {
	of := s.ofApp[shard.App]
	return cmp.Or(cmp.Compare(s.load[a], s.load[b]), cmp.Compare(of[a], of[b]),
		cmp.Compare(rank(shard, a), rank(shard, b))) < 0
}

// even moves one shard from a worker that has many to one that has few.
func (s *spreading) even() bool {
	full := slices.SortedStableFunc(slices.Values(s.names), func(a, b string) int {
		return cmp.Compare(s.load[b], s.load[a])
	})
	for _, from := range full {
		for _, to := range slices.Backward(full) {
			if s.load[from]-s.load[to] < 2 {
				break
			}
			if shard, ok := s.spare(from, to); ok {
				s.give(shard, to)
				return true
			}
		}
	}
	return false
}

// spare is the shard that one worker can best give to another: of an app of which it has many more.
func (s *spreading) spare(from, to string) (best Shard, found bool) {
	most, order := 0, uint64(0)
	for _, shard := range s.has[from] {
		if !s.serves[to][shard.App] {
			continue
		}
		of := s.ofApp[shard.App]
		excess := of[from] - of[to]
		if found && excess < most {
			continue
		}
		if r := rank(shard, to); !found || excess > most || r < order {
			best, most, order, found = shard, excess, r, true
		}
	}
	return best, found
}

// rank orders workers differently for each shard (FNV-1a).
func rank(shard Shard, name string) uint64 {
	h := uint64(14695981039346656037)
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for i := range len(shard.App) {
		add(shard.App[i])
	}
	add(0)
	add(byte(shard.N))
	for i := range len(name) {
		add(name[i])
	}
	return h
}
