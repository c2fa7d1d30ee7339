package wechat

import (
	"slices"
	"strconv"
	"strings"
)

// AnyCall is the name of CallAny for people.
const AnyCall = "any"

// CallName returns a call's name for people.
func CallName(call Call) string {
	if call == CallAny {
		return AnyCall
	}
	return string(call)
}

// CallNames returns the names of the calls that have codes.
func CallNames() []string {
	var names []string
	for _, row := range Codes() {
		if name := CallName(row.Call); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// FaultNames returns the names of all faults.
func FaultNames() []string {
	var names []string
	for _, f := range Faults() {
		names = append(names, f.String())
	}
	return names
}

// Lookup chooses codes from the table. What is empty chooses all.
type Lookup struct {
	Fault string // name of a fault
	Call  string // name of a call
	Text  string // part of the number, the name or the meaning, in any letter case
}

// Codes returns the rows that are chosen. With a call they are the codes that have a row for it or
// for any, as they count there.
func (l Lookup) Codes() []Code {
	var rows []Code
	own := make(map[int]bool)
	for _, row := range Codes() {
		own[row.Code] = own[row.Code] || CallName(row.Call) == l.Call
	}
	for _, row := range Codes() {
		switch {
		case l.Call == "" || CallName(row.Call) == l.Call:
		case row.Call == CallAny && !own[row.Code]:
			row = Explain(Call(l.Call), row.Code)
		default:
			continue
		}
		if l.matches(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// Meanings returns what a code means: on the call that is chosen, whatever row that takes, else on
// each. known is false for a code that no row has. What becomes of it is among the rows all the
// same, unless the other choices leave it out.
func (l Lookup) Meanings(code int) (rows []Code, known bool) {
	onCall := l.Call != "" && l.Call != AnyCall
	for _, row := range Codes() {
		if row.Code != code {
			continue
		}
		known = true
		if !onCall && (l.Call == "" || row.Call == CallAny) && l.matches(row) {
			rows = append(rows, row)
		}
	}
	if onCall || !known {
		if row := Explain(Call(strings.TrimPrefix(l.Call, AnyCall)), code); l.matches(row) {
			rows = append(rows, row)
		}
	}
	return rows, known
}

// matches tells whether a row has the fault and holds the text that are chosen.
func (l Lookup) matches(row Code) bool {
	if l.Fault != "" && row.Fault.String() != l.Fault {
		return false
	}
	text := strings.ToLower(l.Text)
	for _, s := range []string{strconv.Itoa(row.Code), row.Name, row.En, row.Zh} {
		if strings.Contains(strings.ToLower(s), text) {
			return true
		}
	}
	return false
}
