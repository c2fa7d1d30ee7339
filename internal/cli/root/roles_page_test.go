package root_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rightsPage is deploy/RIGHTS.md.
type rightsPage struct {
	commands map[string][]string // by role; an operator's without a viewer's
	rows     []rightsRow
}

// rightsRow says what a right is for.
type rightsRow struct {
	right    string
	of       []string // roles
	why      string
	commands []string // of viewers, operators and privacy
}

var quoted = regexp.MustCompile("`([^`]+)`")

func readRightsPage(t *testing.T) rightsPage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "RIGHTS.md"))
	require.NoError(t, err)
	p := rightsPage{commands: make(map[string][]string)}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch {
		case len(cells) == 3:
			p.commands[strings.TrimSpace(cells[0])] = inQuotes(cells[2])
		case len(cells) == 4 && len(inQuotes(cells[0])) == 1:
			p.rows = append(p.rows, rightsRow{
				right: inQuotes(cells[0])[0], of: strings.Split(cells[1], ", "), why: cells[2],
				commands: inQuotes(cells[3]),
			})
		}
	}
	return p
}

func inQuotes(cell string) (words []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	return words
}

func TestThePageOfRightsHasEachRightAndItsReason(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, roles(t))
	has := make(map[string][]string)
	for _, row := range readRightsPage(t).rows {
		require.NotContains(t, has, row.right, "twice")
		require.NotEmpty(t, row.why, row.right)
		has[row.right] = row.of
	}
	gives := make(map[string][]string)
	for _, user := range []string{"provisioner", "worker", "operator", "viewer", "privacy", "shop"} {
		for _, right := range g.allowed(user) {
			gives[right] = append(gives[right], user)
		}
	}
	require.Equal(t, gives, has)
}

func TestThePageOfRightsSaysWhoRunsWhat(t *testing.T) {
	t.Parallel()
	page := readRightsPage(t)
	by := map[role][]string{}
	for _, e := range errands {
		path := strings.TrimPrefix(commandOf(t, e.line), "kefu ")
		if !slices.Contains(by[e.by], path) {
			by[e.by] = append(by[e.by], path)
		}
	}
	for name, role := range map[string]role{"viewer": looks, "operator": acts, "privacy": forgets,
		"provisioner": provisions, "worker": works} {
		listed := slices.DeleteFunc(page.commands[name], func(c string) bool {
			return strings.HasPrefix(c, "-")
		})
		require.ElementsMatch(t, by[role], listed, name)
	}
}

// requireTold compares what was needed with what the page says.
func (n needs) requireTold(t *testing.T, page rightsPage) {
	t.Helper()
	for _, row := range page.rows {
		for _, command := range row.commands {
			needed := slices.Concat(n["operator"][row.right], n["privacy"][row.right])
			require.Contains(t, needed, "kefu "+command, row.right)
		}
		for _, role := range []string{"operator", "viewer", "privacy"} {
			for _, path := range n[role][row.right] {
				require.Contains(t, row.commands, strings.TrimPrefix(path, "kefu "), row.right)
			}
		}
	}
}
