//go:build faults

package faults

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
		if err := os.WriteFile("TABLE.md", []byte(table()), 0o644); err != nil {
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

// report adds a storm's result to the table.
func report(storm, done, came string) {
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
				s.True(r.posts.holds(got.posts), "posts of an intent: %s, expected %s", got.posts, r.posts)
				s.True(r.doubles.holds(span{got.doubles, got.doubles}), "possible duplicates: %d, expected %s", got.doubles, r.doubles)
			})
		}
	}
}

// table prints the results for people.
func table() string {
	var b strings.Builder
	form := "quick form"
	if *full {
		form = "full form"
	}
	fmt.Fprintf(&b, "# Faults: what is done to kefu, and what comes of it\n\n")
	fmt.Fprintf(&b, "Written by `go test -tags faults -parallel 8 ./internal/faults -timeout 90m -args -full -write` (%s) on %s, %s, %d cores.\n",
		form, time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(&b, "Posts are what the API read of one intent, least and most; lost is what was accepted and has neither an end nor a\n"+
		"place in the queue; duplicates are ends marked `possible_duplicate`.\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| # | fault | expected | seen | posts | lost | duplicates |\n|---|---|---|---|--:|--:|--:|\n", g.name)
		for _, r := range g.rows {
			l, ran := results.rows[r.id+r.fault]
			if !ran {
				fmt.Fprintf(&b, "| %s | %s | %s | **failed before its end** | | | |\n", r.id, r.fault, r.expected)
				continue
			}
			says := strings.Join(append([]string{l.seen.ends}, l.notes...), "; ")
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %d |\n", r.id, r.fault, r.expected, says, l.seen.posts, l.lost, l.seen.doubles)
		}
		if len(g.notRun) > 0 {
			fmt.Fprintf(&b, "\nNot run: ")
			var parts []string
			for _, n := range g.notRun {
				parts = append(parts, fmt.Sprintf("%s %s (%s)", n.id, n.fault, n.why))
			}
			fmt.Fprintf(&b, "%s.\n", strings.Join(parts, "; "))
		}
	}
	if len(results.storms) > 0 {
		fmt.Fprintf(&b, "\n## Storms\n\n| test | what was done | what came of it |\n|---|---|---|\n")
	}
	for _, storm := range slices.Sorted(maps.Keys(results.storms)) {
		lines := results.storms[storm]
		slices.SortFunc(lines, func(x, y [2]string) int { return strings.Compare(x[0], y[0]) })
		for _, l := range lines {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", storm, l[0], l[1])
		}
	}
	return b.String()
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

// catalogue are the numbers of the faults: F01 to F17 the worker's, F20 to F48
// the broker's, F50 to F85 the API's, F90 to F97 of content.
var catalogue = func() (all []string) {
	for _, r := range []span{{1, 17}, {20, 48}, {50, 85}, {90, 97}} {
		for n := r.least; n <= r.most; n++ {
			all = append(all, fmt.Sprintf("F%02d", n))
		}
	}
	return all
}()
