//go:build faults

package faults

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// writeTable writes what this run has found, and keeps the lines of what it did not do: with -run a
// part can be seen anew. Each line says when it was seen.
func writeTable(path string) error {
	before, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	text := table(kept(string(before)), seenOn())
	return os.WriteFile(path, []byte(text), 0o644) // for everybody to read
}

func seenOn() string {
	form := "quick"
	if *full {
		form = "full"
	}
	return time.Now().UTC().Format("2006-01-02") + " " + form
}

// kept returns the lines of an older table by what identifies them: number and fault of a row, the
// test of a storm.
func kept(table string) map[string][]string {
	out := make(map[string][]string)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 3 {
			continue
		}
		key := cells[0]
		if len(key) == len("| F01") && key[2] == 'F' {
			key += " | " + cells[1]
		}
		out[key] = append(out[key], line)
	}
	return out
}

// table prints results for people.
func table(before map[string][]string, now string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Faults: what is done to kefu, and what comes of it\n\n"+
		"Written by %s\non %s, %d cores. Posts are what the API read of one intent, least and "+
		"most; lost is what was accepted and has neither\nan end nor a place in the queue; "+
		"duplicates are ends marked %s. The last column is the day and the form of\n"+
		"the run that saw it.\n",
		"`go test -tags faults -parallel 8 -timeout 90m ./internal/faults -args -full -write`",
		runtime.Version(), runtime.NumCPU(), "`possible_duplicate`")
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| # | fault | expected | seen | posts | lost | duplicates | "+
			"run |\n|---|---|---|---|--:|--:|--:|---|\n", g.name)
		for _, r := range g.rows {
			b.WriteString(rowLine(r, before, now))
		}
		if len(g.notRun) > 0 {
			var parts []string
			for _, n := range g.notRun {
				parts = append(parts, fmt.Sprintf("%s %s (%s)", n.id, n.fault, n.why))
			}
			fmt.Fprintf(&b, "\nNot run: %s.\n", strings.Join(parts, "; "))
		}
	}
	b.WriteString("\n## Storms\n\n| test | what was done | what came of it | run " +
		"|\n|---|---|---|---|\n")
	for _, storm := range storms {
		b.WriteString(stormLines(storm, before, now))
	}
	return b.String()
}

func rowLine(r row, before map[string][]string, now string) string {
	key := fmt.Sprintf("| %s | %s", r.id, r.fault)
	l, ran := results.rows[r.id+r.fault]
	switch {
	case ran:
		says := strings.Join(append([]string{l.seen.ends}, l.notes...), "; ")
		return fmt.Sprintf("%s | %s | %s | %s | %d | %d | %s |\n", key, r.expected, says,
			l.seen.posts, l.lost, l.seen.doubles, now)
	case len(before[key]) > 0:
		return before[key][0]
	}
	return fmt.Sprintf("%s | %s | **not seen** | | | | |\n", key, r.expected)
}

func stormLines(storm string, before map[string][]string, now string) string {
	key := "| " + storm
	lines := results.storms[storm]
	if len(lines) == 0 {
		return strings.Join(before[key], "")
	}
	slices.SortFunc(lines, func(x, y [2]string) int { return strings.Compare(x[0], y[0]) })
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s | %s | %s | %s |\n", key, l[0], l[1], now)
	}
	return b.String()
}
