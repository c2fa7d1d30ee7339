package letter

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestWhichCommandsDoWhatIsAdvised(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	for _, tt := range []struct {
		name    string
		letter  schema.Letter
		several bool
		want    string
	}{
		{"the API was busy", schema.Letter{ID: "a", Reason: schema.ReasonExhausted, Errcode: code(-1)},
			false, "kefu dead replay a"},
		{"and it may have been sent",
			schema.Letter{ID: "a", Reason: schema.ReasonUnknown, PossibleDuplicate: true}, false,
			"kefu dead replay a   # when it is known that it did not arrive"},
		{"one of several", schema.Letter{ID: "a", Reason: schema.ReasonExhausted, Generation: 2}, true,
			"kefu dead replay a --generation 2"},
		{"the window is closed", schema.Letter{ID: "a", Reason: schema.ReasonRecipient,
			Errcode: code(45015)}, false, "kefu dead replay a   # when the user has written again"},
		{"too late", schema.Letter{ID: "a", Reason: schema.ReasonExpired}, false,
			"kefu dead replay a --expires-in 1h"},
		{"another's id", schema.Letter{ID: "a", Reason: schema.ReasonIDReuse}, false,
			"kefu dead replay a --new-ids"},
		{"the account may not", schema.Letter{ID: "a", Reason: schema.ReasonRejected,
			Errcode: code(40200)}, false, "kefu dead replay a   # when what it says is mended"},
		{"no packet", schema.Letter{ID: "a", Reason: schema.ReasonRejected, Errcode: code(40007)},
			false, "kefu dead export --id a letter.ndjson\n" +
				"jq -r .body letter.ndjson > packet.json   # and correct it\n" +
				"kefu send --packet packet.json\nkefu dead discard a"},
		{"a wrong picture", schema.Letter{ID: "a", Reason: schema.ReasonInvalid,
			Body: `{"msgtype":"news","news":{}}`}, false,
			"kefu dead replay a --set /news/…=…   # what corrects the packet"},
		{"one of several with a wrong text", schema.Letter{ID: "a", Reason: schema.ReasonRejected,
			Errcode: code(40007), Generation: 3, Body: `{"msgtype":"image"}`}, true,
			"kefu dead replay a --generation 3 --set /image/…=…   # what corrects the packet"},
		{"one of a campaign", schema.Letter{ID: "a", Reason: schema.ReasonInvalid, Campaign: "双 11"},
			false, "kefu dead export --id a letter.ndjson\n" +
				"jq -r .body letter.ndjson > packet.json   # and correct it\n" +
				"kefu send --packet packet.json --campaign '双 11'\nkefu dead discard a"},
		{"it killed workers", schema.Letter{ID: "a", Reason: schema.ReasonPoison}, false,
			"kefu dead export --id a letter.ndjson"},
		{"an id that a shell would read", schema.Letter{ID: "it's $1", Reason: schema.ReasonExhausted},
			false, `kefu dead replay 'it'\''s $1'`},
		{"an id like a flag", schema.Letter{ID: "-x", Reason: schema.ReasonExhausted}, false,
			"kefu dead replay --id -x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, strings.Join(remedy(&tt.letter, tt.several), "\n"))
		})
	}
}
