package recipients

import "fmt"

// String is the shape in words, for people.
func (s Shape) String() string {
	text := fmt.Sprintf("%s in %s", s.Format, s.Encoding)
	if s.Compression != "" {
		text += ", " + s.Compression
	}
	return text
}
