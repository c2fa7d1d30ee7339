package packets

import (
	"errors"

	"github.com/kefuhq/kefu/schema"
)

// Verdict is the result of checking one packet against the schema.
type Verdict struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // where it starts; 0 when the file could not be read
	MsgType string `json:"msgtype,omitempty"`
	Valid   bool   `json:"valid"`
	Field   string `json:"field,omitempty"` // the one that breaks the rule
	Rule    string `json:"rule,omitempty"`

	Warnings []schema.Warning `json:"warnings,omitempty"` // of a valid one
}

// Check returns the verdict on a packet, without its place.
func Check(raw []byte, limits schema.Limits) Verdict {
	packet, err := schema.Decode(raw, limits)
	var broken *schema.FieldError
	switch {
	case errors.As(err, &broken):
		return Verdict{Field: broken.Field, Rule: broken.Rule}
	case err != nil:
		return Verdict{Rule: err.Error()}
	}
	return Verdict{Valid: true, MsgType: packet.Body.MsgType(), Warnings: packet.Warnings()}
}
