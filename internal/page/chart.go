package page

import (
	"strconv"
	"strings"
)

// Line is a small chart of values over time, drawn as SVG by the template "sparkline". It has an
// area below the line; its text says the same to who cannot see it.
type Line struct {
	Width, Height int
	Path, Area    string // of the SVG
	Text          string
}

// NewLine draws values, oldest first, 0 or above, into a box of so many pixels. text says what
// they are.
func NewLine(values []float64, width, height int, text string) Line {
	l := Line{Width: width, Height: height, Text: text}
	if len(values) < 2 {
		return l
	}
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	if top == 0 {
		top = 1
	}
	const edge = 1.5 // the line is not cut off
	step := (float64(width) - 2*edge) / float64(len(values)-1)
	var path strings.Builder
	for i, v := range values {
		path.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
		x := edge + float64(i)*step
		y := float64(height) - edge - max(v, 0)/top*(float64(height)-2*edge)
		path.WriteString(strconv.FormatFloat(x, 'f', 1, 64) + " " +
			strconv.FormatFloat(y, 'f', 1, 64))
	}
	l.Path = path.String()
	bottom := strconv.Itoa(height)
	l.Area = l.Path + "L" + strconv.FormatFloat(float64(width)-edge, 'f', 1, 64) + " " + bottom +
		"L" + strconv.FormatFloat(edge, 'f', 1, 64) + " " + bottom + "Z"
	return l
}

// Gauge is how much of something is used, drawn by the template "gauge".
type Gauge struct {
	Share float64 // 0 to 1; more is drawn as 1
	Text  string
}

// Width is how wide the bar is, out of a hundred.
func (g Gauge) Width() string {
	return strconv.FormatFloat(min(max(g.Share, 0), 1)*100, 'f', 1, 64)
}

// Level says how near the end is: "", "warn" or "bad".
func (g Gauge) Level() string {
	switch {
	case g.Share >= 1:
		return "bad"
	case g.Share >= 0.85:
		return "warn"
	}
	return ""
}

// Stack is a bar whose parts add up to a whole, drawn by the template "stack", which has a legend.
type Stack struct{ Parts []Part }

// Part is a part of a Stack.
type Part struct {
	Name  string
	Count int
	Level string // its colour: good, bad, warn, busy or rest
	X, W  string // out of a hundred
}

// NewStack makes the parts of a bar out of their names, counts and colours. Those that count
// nothing are left out.
func NewStack(parts ...Part) Stack {
	total := 0
	for _, p := range parts {
		total += p.Count
	}
	var s Stack
	before := 0
	for _, p := range parts {
		if p.Count <= 0 {
			continue
		}
		hundredth := func(n int) string {
			return strconv.FormatFloat(float64(n)/float64(total)*100, 'f', 3, 64)
		}
		p.X, p.W = hundredth(before), hundredth(p.Count)
		before += p.Count
		s.Parts = append(s.Parts, p)
	}
	return s
}
