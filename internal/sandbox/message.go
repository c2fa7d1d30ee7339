package sandbox

import (
	"encoding/json"
	"errors"
)

// MessageSettings are how closely a message is looked at. The zero value looks at touser and
// msgtype alone.
type MessageSettings struct {
	// Strict wants the object under the msgtype's name with what its type needs: 40035, 44004
	// (text), 44003 (articles), 41006 (media_id), …
	Strict bool `json:"strict,omitempty"`
	// TextBytes is how long a text may be, in bytes of UTF-8; beyond it 45002. 0 is no limit; 2048
	// is what users have measured.
	TextBytes int `json:"text_bytes,omitempty"`
	// Articles is how many news may have; beyond it 45008. 0 is no limit; 1 is today's, 10 the
	// document's.
	Articles int `json:"articles,omitempty"`
	// SilentArticles never answers a message with too many articles, as the document says, instead
	// of 45008.
	SilentArticles bool `json:"silent_articles,omitempty"`
	// NoEscapes refuses bodies with \u escapes: 40033.
	NoEscapes bool `json:"no_escapes,omitempty"`
	// Media are the media ids there are, thumbs included; others draw 40007. Empty is any.
	Media []string `json:"media,omitempty"`
	// KnownKFAccounts wants customservice.kf_account to be one of the app's: 65401, or 61452 in the
	// old family.
	KnownKFAccounts bool `json:"known_kfaccounts,omitempty"`
}

func (m *MessageSettings) check() error {
	if m.TextBytes < 0 || m.Articles < 0 {
		return errors.New("text_bytes, articles: below zero")
	}
	if m.SilentArticles && m.Articles == 0 {
		return errors.New("silent_articles: without articles")
	}
	return nil
}

// needDecoding reports whether a message must be decoded at all.
func (m *MessageSettings) needDecoding() bool {
	return m.Strict || m.TextBytes > 0 || m.Articles > 0 || m.NoEscapes || len(m.Media) > 0 ||
		m.KnownKFAccounts
}

// messageBody is the object under the msgtype's name, whichever that is.
type messageBody struct {
	Content   string            `json:"content"`
	MediaID   string            `json:"media_id"`
	ThumbID   string            `json:"thumb_media_id"`
	MusicURL  string            `json:"musicurl"`
	Articles  []json.RawMessage `json:"articles"`
	ArticleID string            `json:"article_id"`
	List      []json.RawMessage `json:"list"`
	CardID    string            `json:"card_id"`
	Title     string            `json:"title"`
	PagePath  string            `json:"pagepath"`
	Text      string            `json:"description"`
	URL       string            `json:"url"`
	ThumbURL  string            `json:"thumb_url"`
}

// requiredField is a field that a type cannot do without, and the errcode without it.
type requiredField struct {
	missing func(*messageBody) bool
	code    int
}

var (
	needsMedia = requiredField{func(m *messageBody) bool { return m.MediaID == "" }, 41006}
	needsThumb = requiredField{func(m *messageBody) bool { return m.ThumbID == "" }, 41006}
	needsTitle = requiredField{func(m *messageBody) bool { return m.Title == "" }, 41011}
)

// requiredFields are the required fields by type, where the sources agree on them. They do not on
// the thumb of a video, which today's page requires and the older one does not have, nor on the
// appid of a miniprogrampage, which a mini program leaves out.
var requiredFields = map[string][]requiredField{
	"text":          {{func(m *messageBody) bool { return m.Content == "" }, 44004}},
	"image":         {needsMedia},
	"voice":         {needsMedia},
	"video":         {needsMedia},
	"music":         {{func(m *messageBody) bool { return m.MusicURL == "" }, 41011}, needsThumb},
	"news":          {{func(m *messageBody) bool { return len(m.Articles) == 0 }, 44003}},
	"mpnews":        {needsMedia},
	"mpnewsarticle": {{func(m *messageBody) bool { return m.ArticleID == "" }, 53600}},
	"msgmenu":       {{func(m *messageBody) bool { return len(m.List) == 0 }, 41011}},
	"wxcard":        {{func(m *messageBody) bool { return m.CardID == "" }, 40073}},
	"miniprogrampage": {
		needsTitle, {func(m *messageBody) bool { return m.PagePath == "" }, 40165}, needsThumb,
	},
	"link": {
		needsTitle, {func(m *messageBody) bool {
			return m.Text == "" || m.URL == "" ||
				m.ThumbURL == ""
		}, 41011},
	},
}

// tooManyArticles is no errcode: it stands for the silence that the document promises.
const tooManyArticles = -45008

// checkMessage looks inside a message whose envelope is good, as far as the settings say.
func (s *Sandbox) checkMessage(q *request, set *settings) int {
	if !set.Messages.needDecoding() {
		return 0
	}
	rules := &set.Messages
	if rules.NoEscapes && q.packet.escaped {
		return 40033
	}
	var envelope map[string]json.RawMessage
	if json.Unmarshal([]byte(q.body), &envelope) != nil {
		return 47001
	}
	var m messageBody
	if raw, there := envelope[q.msgType]; (!there || json.Unmarshal(raw, &m) != nil ||
		raw[0] != '{') && rules.Strict {
		return 40035
	}
	if rules.Strict {
		for _, n := range requiredFields[q.msgType] {
			if n.missing(&m) {
				return n.code
			}
		}
	}
	if code := rules.sizes(&m); code != 0 {
		return code
	}
	for _, id := range []string{m.MediaID, m.ThumbID} {
		if id != "" && set.media != nil && !set.media[id] {
			return 40007
		}
	}
	if rules.KnownKFAccounts && !s.knowsKFAccount(q.token.app, envelope["customservice"]) {
		return set.KFAccounts.code(kfUnknown)
	}
	return 0
}

func (m *MessageSettings) sizes(b *messageBody) int {
	switch {
	case m.TextBytes > 0 && len(b.Content) > m.TextBytes:
		return 45002
	case m.Articles == 0 || len(b.Articles) <= m.Articles:
		return 0
	case m.SilentArticles:
		return tooManyArticles
	}
	return 45008
}

// knowsKFAccount reports whether a message's customservice object, if there is one, names an
// account of the app.
func (s *Sandbox) knowsKFAccount(a *appState, customService json.RawMessage) bool {
	if customService == nil {
		return true
	}
	var from struct {
		Account string `json:"kf_account"`
	}
	if json.Unmarshal(customService, &from) != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accounts.find(from.Account) != nil
}
