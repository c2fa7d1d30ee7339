//go:build faults

package faults

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/stage"
)

var (
	full  = flag.Bool("full", false, "the long form: more repetitions, longer waits")
	write = flag.Bool("write", false, "write TABLE.md")
)

func TestMain(m *testing.M) {
	code := stage.Run(m)
	if *write {
		if err := writeTable("TABLE.md"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// row is one fault: what is done, and what must come of it.
type row struct {
	id       string // its number in the catalogue
	fault    string
	expected string // in words
	ends     string // as seen.ends
	posts    span   // of each intent
	doubles  span   // ends marked possible_duplicate
	options  stage.Options
	run      func(*scene)
}

// notRun are the faults of the catalogue that this suite does not do, and why.
type notRun struct{ id, fault, why string }

// groups are the rows by the part of the world that breaks.
var groups = []struct {
	name   string
	rows   []row
	notRun []notRun
}{
	{"Worker", workerRows, workerNotRun},
	{"Broker", brokerRows, brokerNotRun},
	{"API", upstreamRows, upstreamNotRun},
	{"Content", contentRows, nil},
}

// line is a row's result.
type line struct {
	row
	seen
	notes []string
}

// results is what the tests of this run have found, for the table.
var results = struct {
	mu     sync.Mutex
	rows   map[string]line
	storms map[string][][2]string // by test: what was done, what came of it
}{rows: make(map[string]line), storms: make(map[string][][2]string)}

// storms are the tests that report to the table, in its order.
var storms = []string{
	"kill -9 at a point", "random kills", "ten apps", "due at once", "no way out", "order", "replay", "replay beside live",
	"campaign", "campaign paused and cancelled", "two campaigns beside live", "live while watched",
	"cluster of three", "no quorum",
	"rolling upgrade", "leader cut off",
}

// report adds a storm's result to the table.
func report(storm, done, came string) {
	if !slices.Contains(storms, storm) {
		panic("the table has no place for the storm " + storm)
	}
	results.mu.Lock()
	defer results.mu.Unlock()
	results.storms[storm] = append(results.storms[storm], [2]string{done, came})
}

// TestFaults runs every row on a stage of its own.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, g := range groups {
		for _, r := range g.rows {
			t.Run(r.id+" "+r.fault, func(t *testing.T) {
				t.Parallel()
				s := &scene{Stage: stage.New(t, r.options)}
				r.run(s)
				got := s.look()
				results.mu.Lock()
				results.rows[r.id+r.fault] = line{r, got, s.notes}
				results.mu.Unlock()
				s.Zero(got.lost, "intents are lost")
				s.Equal(r.ends, got.ends, "how the intents ended")
				s.True(r.posts.holds(got.posts), "posts of an intent: %s, expected %s",
					got.posts, r.posts)
				s.True(r.doubles.holds(span{got.doubles, got.doubles}),
					"possible duplicates: %d, expected %s", got.doubles, r.doubles)
			})
		}
	}
}

// TestEveryFaultHasItsRow compares the rows with the catalogue's numbers.
func TestEveryFaultHasItsRow(t *testing.T) {
	var have []string
	for _, g := range groups {
		for _, r := range g.rows {
			have = append(have, r.id)
		}
		for _, n := range g.notRun {
			have = append(have, n.id)
		}
	}
	for _, id := range catalogue {
		require.True(t, slices.Contains(have, id), "%s has neither a row nor a reason why not", id)
	}
}

// catalogue are the numbers of the faults: F01 to F17 the worker's, F20 to F48 the broker's, F50 to
// F85 the API's, F90 to F97 of content.
var catalogue = func() (all []string) {
	for _, r := range []span{{1, 17}, {20, 48}, {50, 85}, {90, 97}} {
		for n := r.min; n <= r.max; n++ {
			all = append(all, fmt.Sprintf("F%02d", n))
		}
	}
	return all
}()
