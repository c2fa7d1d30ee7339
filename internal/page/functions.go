package page

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// functions are those of the templates.
func functions() template.FuncMap {
	return template.FuncMap{
		"num": Num, "rate": Rate, "percent": Percent, "stamp": Stamp, "iso": iso,
		"clean": Clean, "list": func(items ...any) []any { return items },
		"dict": dict, "lower": strings.ToLower,
	}
}

// dict makes a map of names and values, for a template that is given several.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: a name without a value")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// Num writes a whole number with its thousands apart: 41,200.
func Num(n any) string {
	if p, ok := n.(*int); ok {
		if p == nil {
			return "–"
		}
		n = *p
	}
	text := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	if strings.Trim(text, "0123456789") != "" {
		return sign + text
	}
	var out strings.Builder
	for i, digit := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return sign + out.String()
}

// Rate writes a number per second with as many digits as say something.
func Rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 0.05:
		return "<0.1"
	case perSecond < 10:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return Num(int64(math.Round(perSecond)))
}

// Percent writes a share, 0 to 1, as a whole percentage: neither 0 % nor 100 % unless it is that.
func Percent(share float64) string {
	p := math.Round(share * 100)
	switch {
	case share > 0 && p == 0:
		return "<1 %"
	case share < 1 && p == 100:
		return ">99 %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// Stamp writes a moment: the time alone for one of the last twelve hours.
func Stamp(t time.Time) string {
	switch age := time.Since(t); {
	case t.IsZero():
		return ""
	case age.Abs() < 12*time.Hour:
		return t.Local().Format("15:04:05")
	}
	return t.Local().Format("2006-01-02 15:04")
}

func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// Took writes a duration for people, in the reader's language: 350 ms, 12 s, 4 min, 3 h 20 min.
func (p Printer) Took(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + p.Took(-d)
	case d < time.Second:
		return p.T("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return p.T("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return p.T("%d s", int(d.Seconds()))
	case d < time.Hour:
		return p.T("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		if m := int(d.Minutes()) % 60; m > 0 {
			return p.T("%d h %d min", int(d.Hours()), m)
		}
		return p.T("%d h", int(d.Hours()))
	}
	return p.T("%d days", int(d.Hours()/24))
}

// Ago writes how long ago something was; "" for the zero time.
func (p Printer) Ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if d := time.Since(t); d >= 0 {
		return p.T("%s ago", p.Took(d))
	}
	return p.T("in %s", p.Took(time.Until(t)))
}

// Clean shows the characters of a text that nobody sees, or that turn its direction around, as
// what they are.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0, // control
			r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069,
			r == 0xfeff, r == 0x061c:
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
