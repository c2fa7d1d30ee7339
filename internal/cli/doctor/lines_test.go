package doctor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/doctor"
)

func TestWhatIsTheSameIsToldOnOneLine(t *testing.T) {
	t.Parallel()
	var said []string
	for _, l := range lines([]doctor.Finding{
		{Check: "broker", State: doctor.OK, Text: "answers"},
		{Check: "rights", State: doctor.Error, Text: "a", Fix: "b"},
		{Check: "rights", State: doctor.Error, Text: "c", Fix: "b"},
		{Check: "secret", App: "wx1", State: doctor.OK, Text: "file x"},
		{Check: "secret", App: "wx2", State: doctor.OK, Text: "file y"},
		{Check: "secret", App: "wx3", State: doctor.Warning, Text: "odd", Fix: "mend"},
		{Check: "secret", App: "wx4", State: doctor.OK, Text: "file z"},
		{Check: "token", App: "wx1", State: doctor.Skipped, Text: "no way"},
		{Check: "token", App: "wx2", State: doctor.Skipped, Text: "no way"},
		{Check: "quota", App: "wx1", State: doctor.Skipped, Text: "no way"},
		{Check: "quota", App: "wx2", State: doctor.Skipped, Text: "other", Fix: "do"},
	}) {
		said = append(said, strings.TrimSpace(string(l.state)+" "+l.check+": "+l.text))
	}
	require.Equal(t, []string{
		"ok broker: answers",
		"error rights: a", ": → b",
		"error rights: c", ": → b",
		"ok secret: 2 apps",
		"warning secret: wx3: odd", ": → mend",
		"ok secret: wx4: file z",
		"skipped 2 checks: no way: token, quota",
		"skipped quota: wx2: other", ": → do",
	}, said)
}
