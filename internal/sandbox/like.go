package sandbox

import (
	"maps"
	"slices"
)

// Names of the settings that [Like] knows.
const (
	LikeToday    = "today"
	LikeDocument = "document"
)

// presets are settings as strict as the real API is by its pages of today, and by the document that
// kefu began with.
var presets = map[string]Settings{
	LikeToday: {
		Window:   WindowToday,
		Messages: MessageSettings{Strict: true, TextBytes: 2048, Articles: 1},
		Tokens:   TokenSettings{ForcedADay: 20},
		Quotas: map[string]Quota{
			CallSend:                {Day: otherDay},
			"/cgi-bin/stable_token": {Day: 500_000, Minute: 10_000},
			"/cgi-bin/token":        {Day: legacyTokenDay},
		},
	},
	LikeDocument: {
		Window:   WindowDocument,
		Messages: MessageSettings{Strict: true, Articles: 10, SilentArticles: true},
		KFAccounts: KFSettings{
			Errors: KFErrorsOld, Limit: 10, Nicknames: NicknamesDocument, ImageSpace: true,
		},
		Quotas: map[string]Quota{"/cgi-bin/token": {Day: legacyTokenDay}},
	},
}

// Likes returns the names that [Like] knows.
func Likes() []string { return slices.Sorted(maps.Keys(presets)) }

// Like returns the settings of this name, a copy to change at will, and false when there are none.
func Like(name string) (Settings, bool) {
	set, known := presets[name]
	return set.clone(), known
}
