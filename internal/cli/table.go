package cli

import (
	"io"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
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
)

// table prints rows under heads, no wider than the terminal. Where out is no terminal nothing is
// broken into lines, so that it can be searched.
func (s *Streams) table(heads []head, rows [][]cell) error {
	for _, row := range rows {
		for j := range row {
			row[j].text = Clean(row[j].text)
		}
	}
	widths := layout(heads, rows, s.Terminal.Width)
	colours := s.colours(s.Terminal.Out)

	w := table.NewWriter()
	w.SetStyle(plainStyle())
	w.SuppressTrailingSpaces()
	var titles table.Row
	var configs []table.ColumnConfig
	titled := false
	for j, h := range heads {
		align := text.AlignLeft
		if h.right {
			align = text.AlignRight
		}
		configs = append(configs,
			table.ColumnConfig{Number: j + 1, Align: align, AlignHeader: align})
		titles = append(titles, paint(colours, Bold, wrap(h.title, widths[j])))
		titled = titled || h.title != ""
	}
	w.SetColumnConfigs(configs)
	if titled {
		w.AppendHeader(titles)
	}
	for _, row := range rows {
		var line table.Row
		for j, cell := range row {
			line = append(line, paintLines(colours, cell.style, wrap(cell.text, widths[j])))
		}
		w.AppendRow(line)
	}
	if rendered := w.Render(); rendered != "" {
		_, err := io.WriteString(s.Out, rendered+"\n")
		return err
	}
	return nil
}

// paintLines paints each line by itself: a colour that ran on would also fill the neighbours.
func paintLines(colours bool, st Style, s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = paint(colours, st, lines[i])
	}
	return strings.Join(lines, "\n")
}

// plainStyle is columns with two blanks between them and nothing else.
func plainStyle() table.Style {
	s := table.StyleDefault
	s.Name = "kefu"
	s.Box.PaddingLeft, s.Box.PaddingRight = "", strings.Repeat(" ", columnGap)
	s.Format = table.FormatOptions{Header: text.FormatDefault, Row: text.FormatDefault,
		Footer: text.FormatDefault}
	s.Options = table.OptionsNoBordersAndSeparators
	return s
}

// layout gives each column its width: what it needs, unless the terminal is narrower than that.
// Then the columns that wrap share what the others leave, and if that is hopeless all columns
// share. A terminal of 0 has no width.
func layout(heads []head, rows [][]cell, terminal int) []int {
	widths := make([]int, len(heads))
	total := -columnGap // none behind the last one
	for j, h := range heads {
		widths[j] = text.StringWidthWithoutEscSequences(h.title)
		for _, row := range rows {
			widths[j] = max(widths[j], text.StringWidthWithoutEscSequences(row[j].text))
		}
		total += widths[j] + columnGap
	}
	if terminal <= 0 || total <= terminal {
		return widths
	}
	available := terminal + columnGap - columnGap*len(heads)
	var elastic, all []int
	left := available
	for j, h := range heads {
		all = append(all, j)
		if h.wraps {
			elastic = append(elastic, j)
		} else {
			left -= widths[j]
		}
	}
	if len(elastic) > 0 && left >= narrowest*len(elastic) {
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

// wrap breaks text into lines of at most width columns: between words and between the characters of
// Chinese text, and within a word only if it is longer than a line. A closing mark stays with the
// character before it.
func wrap(s string, width int) string {
	if width <= 0 || text.StringWidthWithoutEscSequences(s) <= width {
		return s
	}
	var out strings.Builder
	column := 0
	gap := false
	for _, a := range atoms(s) {
		if a == " " {
			gap = true
			continue
		}
		need := text.StringWidthWithoutEscSequences(a)
		if gap && column > 0 && column+1+need <= width {
			out.WriteByte(' ')
			column++
		} else if column > 0 && column+need > width || gap && column > 0 {
			out.WriteByte('\n')
			column = 0
		}
		gap = false
		for _, r := range a {
			w := text.RuneWidth(r)
			if column > 0 && column+w > width {
				out.WriteByte('\n')
				column = 0
			}
			out.WriteRune(r)
			column += w
		}
	}
	return out.String()
}

// atoms cuts text where a line may end: words, single wide characters with the marks that belong to
// them, and blanks.
func atoms(s string) []string {
	var list []string
	wide := false // the last atom is a wide character
	for _, r := range s {
		n := len(list)
		switch {
		case unicode.IsSpace(r):
			list, wide = append(list, " "), false
		case n > 0 && list[n-1] != " " && (text.RuneWidth(r) == 0 || closes(r)):
			list[n-1] += string(r)
		case text.RuneWidth(r) > 1:
			list, wide = append(list, string(r)), true
		case n > 0 && list[n-1] != " " && !wide:
			list[n-1] += string(r)
		default:
			list, wide = append(list, string(r)), false
		}
	}
	return list
}

// closes tells whether a mark must not begin a line in Chinese text.
func closes(r rune) bool {
	return strings.ContainsRune("，。、；：！？）」』”’》】…", r)
}
