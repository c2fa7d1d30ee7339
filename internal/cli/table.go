package cli

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Style is the part of an escape sequence that sets a colour or weight; empty is plain.
type Style string

// The styles that are used.
const (
	Bold   Style = "1"
	Faint  Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// paint puts s in a style, if colours are wanted at all.
func paint(colours bool, st Style, s string) string {
	if !colours || st == "" || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// head is the head of a column; a table whose heads have no titles has no head line.
type head struct {
	title string
	right bool
	wraps bool
	cuts  bool
	spare int
}

// cell is one value of a table.
type cell struct {
	text  string
	style Style
}

const (
	columnGap = 2
	// narrowest is what a column that wraps gets at least, else the others have to give way too.
	narrowest = 10
	// cutNarrowest is the same of a column that is cut: the rest of the text is not shown.
	cutNarrowest = 14
)

// table prints rows under heads, no wider than the terminal. Where out is no terminal nothing is
// broken into lines, so that it can be searched.
func (s *Streams) table(heads []head, rows [][]cell) error {
	for _, row := range rows {
		for j := range row {
			row[j].text = Clean(row[j].text)
		}
	}
	heads, rows = withoutSpare(heads, rows, s.Terminal.Width)
	widths := layout(heads, rows, s.Terminal.Width)
	broken := wrap
	if slices.ContainsFunc(heads, func(h head) bool { return h.cuts }) {
		broken = Cut
	}
	titles, titled := make([]cell, len(heads)), false
	for j, h := range heads {
		titles[j] = cell{h.title, Bold}
		titled = titled || h.title != ""
	}
	if titled {
		rows = append([][]cell{titles}, rows...)
	}
	wrapped := make([][][]string, len(rows)) // the lines of each cell
	used := make([]int, len(heads))          // a column is no wider than its longest line
	for i, row := range rows {
		wrapped[i] = make([][]string, len(row))
		for j, cell := range row {
			wrapped[i][j] = strings.Split(broken(cell.text, widths[j]), "\n")
			for _, line := range wrapped[i][j] {
				used[j] = max(used[j], uniseg.StringWidth(line))
			}
		}
	}
	var out strings.Builder
	colours := s.colours(s.Terminal.Out)
	for i, row := range rows {
		for n := range height(wrapped[i]) {
			writeLine(&out, heads, row, wrapped[i], used, n, colours)
		}
	}
	_, err := io.WriteString(s.Out, out.String())
	return err
}

// height returns how many lines a row has.
func height(cells [][]string) (lines int) {
	for _, cell := range cells {
		lines = max(lines, len(cell))
	}
	return lines
}

// writeLine writes the nth line of a row, without blanks at its end. Each line is painted by
// itself: a colour that ran on would also fill the neighbours.
func writeLine(
	out *strings.Builder, heads []head, row []cell, wrapped [][]string, widths []int, n int,
	colours bool,
) {
	blanks := 0 // before the next text
	for j, lines := range wrapped {
		text := ""
		if n < len(lines) {
			text = lines[n]
		}
		padding := widths[j] - uniseg.StringWidth(text)
		if heads[j].right {
			blanks, padding = blanks+padding, 0
		}
		if text != "" {
			out.WriteString(strings.Repeat(" ", blanks))
			out.WriteString(paint(colours, row[j].style, text))
			blanks = 0
		}
		blanks += padding + columnGap
	}
	out.WriteByte('\n')
}

// natural returns the width that each column needs.
func natural(heads []head, rows [][]cell) []int {
	widths := make([]int, len(heads))
	for j, h := range heads {
		widths[j] = uniseg.StringWidth(h.title)
		for _, row := range rows {
			widths[j] = max(widths[j], uniseg.StringWidth(row[j].text))
		}
	}
	return widths
}

// withoutSpare leaves out the columns that can be spared and that a terminal has no space for.
func withoutSpare(heads []head, rows [][]cell, terminal int) ([]head, [][]cell) {
	kept := fitting(heads, rows, terminal)
	return pick(heads, kept), pickRows(rows, kept)
}

// fitting returns which columns stay when those that can be spared give way to the others.
func fitting(heads []head, rows [][]cell, terminal int) []int {
	widths := natural(heads, rows)
	least := -columnGap
	var kept, spare []int
	for j, h := range heads {
		least += h.least(widths[j]) + columnGap
		kept = append(kept, j)
		if h.spare > 0 {
			spare = append(spare, j)
		}
	}
	// An empty column is the first to go.
	empty := func(j int) bool {
		return !slices.ContainsFunc(rows, func(row []cell) bool { return row[j].text != "" })
	}
	slices.SortFunc(spare, func(a, b int) int {
		switch {
		case empty(a) && !empty(b):
			return -1
		case empty(b) && !empty(a):
			return 1
		}
		return heads[b].spare - heads[a].spare
	})
	for _, j := range spare {
		if terminal <= 0 || least <= terminal {
			break
		}
		least -= heads[j].least(widths[j]) + columnGap
		kept = slices.DeleteFunc(kept, func(k int) bool { return k == j })
	}
	return kept
}

// least returns the width that a column with a natural width must have.
func (h head) least(width int) int {
	switch {
	case h.cuts:
		return min(width, cutNarrowest)
	case h.wraps:
		return min(width, narrowest)
	}
	return width
}

func pick[T any](from []T, at []int) []T {
	out := make([]T, len(at))
	for i, j := range at {
		out[i] = from[j]
	}
	return out
}

func pickRows(rows [][]cell, at []int) [][]cell {
	out := make([][]cell, len(rows))
	for i, row := range rows {
		out[i] = pick(row, at)
	}
	return out
}

// layout gives each column its width: what it needs, unless the terminal is narrower than that.
// Then the columns that wrap share what the others leave, and if that is hopeless all columns
// share. A terminal of 0 has no width.
func layout(heads []head, rows [][]cell, terminal int) []int {
	widths := natural(heads, rows)
	total := -columnGap // none behind the last one
	for _, width := range widths {
		total += width + columnGap
	}
	if terminal <= 0 || total <= terminal {
		return widths
	}
	available := terminal + columnGap - columnGap*len(heads)
	var elastic, all []int
	left, least := available, 0
	for j, h := range heads {
		all = append(all, j)
		if h.wraps || h.cuts {
			elastic = append(elastic, j)
			least += h.least(widths[j])
		} else {
			left -= widths[j]
		}
	}
	if len(elastic) > 0 && left >= least {
		share(widths, elastic, left)
	} else {
		share(widths, all, available)
	}
	return widths
}

// share divides space among columns: those that need less than their part keep what they need, the
// others get equal parts.
func share(widths, columns []int, space int) {
	open := columns
	for {
		part := space / max(1, len(open))
		var larger []int
		for _, j := range open {
			if widths[j] <= part {
				space -= widths[j]
			} else {
				larger = append(larger, j)
			}
		}
		if len(larger) == len(open) {
			for _, j := range larger {
				widths[j] = max(2, part) // room for one wide character
			}
			return
		}
		open = larger
	}
}

// Cut returns what of a text fits into width columns, with … for the rest.
func Cut(s string, width int) string {
	if width <= 0 || uniseg.StringWidth(s) <= width {
		return s
	}
	fits := ""
	for _, character := range characters(s) {
		if uniseg.StringWidth(fits+character) >= width { // a column for the …
			break
		}
		fits += character
	}
	return strings.TrimRight(fits, " ") + "…"
}

// wrap breaks text into lines of at most width columns: between words and between the characters of
// Chinese text, and within a word only if it is longer than a line. A closing mark stays with the
// character before it, an opening one with the character after it.
func wrap(s string, width int) string {
	if width <= 0 || uniseg.StringWidth(s) <= width {
		return s
	}
	var lines []string
	line, gap := "", ""
	add := func(text string) {
		if line != "" && uniseg.StringWidth(line+gap+text) > width {
			lines, line, gap = append(lines, line), "", ""
		}
		if line == "" {
			gap = "" // blanks at a break are dropped
		}
		line, gap = line+gap+text, ""
	}
	for _, piece := range unbroken(s) {
		text := strings.TrimRight(piece, " ")
		switch {
		case text == "":
		case uniseg.StringWidth(text) <= width:
			add(text)
		default:
			if line != "" {
				lines, line, gap = append(lines, line), "", ""
			}
			for _, character := range characters(text) {
				add(character)
			}
		}
		if len(text) < len(piece) {
			gap = " "
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// unbroken cuts text where a line may end: where Unicode says so (UAX 14), but between narrow
// characters only after a blank, so that ids, flags and addresses stay whole.
func unbroken(s string) []string {
	var list []string
	glued := false
	for state := -1; s != ""; {
		var piece string
		piece, s, _, state = uniseg.FirstLineSegmentInString(s, state)
		if first, _ := utf8.DecodeRuneInString(piece); glued && isNarrow(first) {
			list[len(list)-1] += piece
		} else {
			list = append(list, piece)
		}
		last, _ := utf8.DecodeLastRuneInString(piece)
		glued = last != ' ' && isNarrow(last)
	}
	return list
}

func isNarrow(r rune) bool { return uniseg.StringWidth(string(r)) < 2 }

// characters cuts text into what people see as characters.
func characters(s string) []string {
	var list []string
	for g := uniseg.NewGraphemes(s); g.Next(); {
		list = append(list, g.Str())
	}
	return list
}
