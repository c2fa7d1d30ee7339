package schema

import "strconv"

// maxID is the longest id of an intent in bytes.
const maxID = 128

// CheckID tells whether id may name an intent: 1 to 128 bytes of printable ASCII (0x20 to 0x7E),
// with no blank at either end, because header parsers trim there and two ids would become one. The
// error is a [*FieldError] for "id".
func CheckID(id string) error {
	if rule := idRule(id); rule != "" {
		return &FieldError{Field: "id", Rule: rule}
	}
	return nil
}

func idRule(id string) string {
	switch {
	case id == "":
		return "empty, 1 to 128 bytes"
	case len(id) > maxID:
		return strconv.Itoa(len(id)) + " bytes, at most 128"
	case id[0] == ' ' || id[len(id)-1] == ' ':
		return "must not begin or end with a blank"
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return "must be printable ASCII"
		}
	}
	return ""
}
