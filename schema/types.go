package schema

import "math"

// Body is a message of one msgtype: a pointer to one of [Text], [Image], [Voice], [Video], [Music],
// [News], [WxCard], [MPNews], [MPNewsArticle], [MsgMenu], [MiniProgramPage] and [Link].
type Body interface {
	// MsgType is the msgtype of the API, which is also the name of the packet's object that holds
	// the message.
	MsgType() string

	form() form
}

// types are the known msgtypes in the order of the contract, those of mini programs behind.
var types = [...]struct {
	name string
	make func() Body
}{
	{"text", func() Body { return new(Text) }},
	{"image", func() Body { return new(Image) }},
	{"voice", func() Body { return new(Voice) }},
	{"video", func() Body { return new(Video) }},
	{"music", func() Body { return new(Music) }},
	{"news", func() Body { return new(News) }},
	{"wxcard", func() Body { return new(WxCard) }},
	{"mpnews", func() Body { return new(MPNews) }},
	{"mpnewsarticle", func() Body { return new(MPNewsArticle) }},
	{"msgmenu", func() Body { return new(MsgMenu) }},
	{"miniprogrampage", func() Body { return new(MiniProgramPage) }},
	{link, func() Body { return new(Link) }},
}

// MsgTypes lists the known msgtypes, in the order of the contract; the last, link, is for mini
// programs. The slice is the caller's.
func MsgTypes() []string { return msgTypes(KindMiniProgram) }

// msgTypes are those that an app of this kind may send.
func msgTypes(kind AppKind) []string {
	var names []string
	for _, t := range types {
		if kindRule(t.name, Limits{Kind: kind}) == "" {
			names = append(names, t.name)
		}
	}
	return names
}

// A form is the description of one JSON object of the API: which fields it knows, in the order in
// which they are written, where their values live and what rule they obey. Decode, Check and Append
// all work from it, so a new field is one line here and cannot be read, checked and written
// differently.
type form struct {
	fields fields
	extra  *[]Member
	empty  *fieldSet
}

// fields has room for the largest form; those not used have no name.
type fields [5]field

// A field is one line of a form; exactly one of str, list and flag is set.
type field struct {
	name string
	str  *string
	list list  // An array of objects; required.
	flag *bool // 0 or 1; required.

	number *bool // With str: the value may also be a number; set when it is one.
	rule   rule  // With str: required, and to be kept; nil means optional.

	// With rule: when the field may be missing all the same; nil means never.
	optional func(Limits) bool
	// With optional: what is sent for a missing one.
	fallback *string
	// With str: what may be doubtful about a valid value; nil means nothing.
	doubt doubt
}

// mayBeMissing tells whether a packet may do without the field. Null is then the same as a missing
// one: serializers write it.
func (f *field) mayBeMissing(limits Limits) bool {
	return f.str != nil && (f.rule == nil || f.optional != nil && f.optional(limits))
}

func always(Limits) bool { return true }

// list is a field that holds an array of objects.
type list interface {
	len() int
	at(i int) form
	add() form                           // One more, at the end.
	most(Limits) (most int, noun string) // How many there may be, and what they are called.
}

// fieldSet is a set of fields of a form, by index. The structs keep one of the fields that a packet
// carries as "": it tells a blank field from a missing one, and lets optional fields arrive as they
// were published, while producers write plain strings.
type fieldSet uint8

func (s fieldSet) has(i int) bool { return s>>i&1 != 0 }
func (s *fieldSet) add(i int)     { *s |= 1 << i }

// Text is msgtype text. A text may hold line breaks and <a href="…"> links.
type Text struct {
	// Content is the text, 1 to Limits.TextBytes bytes of UTF-8. The API answers 44004 to none and
	// 45002 to too much; that it counts 2048 bytes is measured by others, its page gives no figure.
	Content string
	Extra   []Member
	empty   fieldSet
}

// MsgType returns "text".
func (*Text) MsgType() string { return "text" }

func (t *Text) form() form {
	return form{extra: &t.Extra, empty: &t.empty, fields: fields{
		{name: "content", str: &t.Content, rule: textSize, doubt: shownText},
	}}
}

// Image is msgtype image.
type Image struct {
	// A temporary (3 days) or permanent media; the API answers 41006 to none and 40007 to one it
	// does not know.
	MediaID string
	Extra   []Member
	empty   fieldSet
}

// MsgType returns "image".
func (*Image) MsgType() string { return "image" }

func (m *Image) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "media_id", str: &m.MediaID, rule: notBlank},
	}}
}

// Voice is msgtype voice.
type Voice struct {
	MediaID string // As in [Image].
	Extra   []Member
	empty   fieldSet
}

// MsgType returns "voice".
func (*Voice) MsgType() string { return "voice" }

func (m *Voice) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "media_id", str: &m.MediaID, rule: notBlank},
	}}
}

// Video is msgtype video.
type Video struct {
	// As in [Image].
	MediaID string
	// The picture shown before it plays; optional when Limits.VideoThumb says so.
	ThumbMediaID string
	// Optional.
	Title string
	// Optional.
	Description string
	Extra       []Member
	empty       fieldSet
}

// MsgType returns "video".
func (*Video) MsgType() string { return "video" }

func (m *Video) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "media_id", str: &m.MediaID, rule: notBlank},
		{name: "thumb_media_id", str: &m.ThumbMediaID, rule: notBlank,
			optional: Limits.withoutThumb},
		{name: "title", str: &m.Title, doubt: breaks},
		{name: "description", str: &m.Description, doubt: breaks},
	}}
}

// Music is msgtype music.
type Music struct {
	// An absolute http or https URL.
	MusicURL string
	// The same in better quality, preferred on Wi-Fi. Optional: when missing, MusicURL is sent for
	// it.
	HQMusicURL string
	// The picture shown with it.
	ThumbMediaID string
	// Optional.
	Title string
	// Optional.
	Description string
	Extra       []Member
	empty       fieldSet
}

// MsgType returns "music".
func (*Music) MsgType() string { return "music" }

func (m *Music) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "musicurl", str: &m.MusicURL, rule: musicURL},
		{name: "hqmusicurl", str: &m.HQMusicURL, rule: hqMusicURL,
			optional: always, fallback: &m.MusicURL},
		{name: "thumb_media_id", str: &m.ThumbMediaID, rule: notBlank},
		{name: "title", str: &m.Title, doubt: breaks},
		{name: "description", str: &m.Description, doubt: breaks},
	}}
}

// News is msgtype news: cards that lead to web pages.
type News struct {
	// Articles are 1 to Limits.NewsArticles. The API's page once said 10 and that more get no
	// answer at all; today it takes 1 and answers 45008 to more.
	Articles []Article
	Extra    []Member
	empty    fieldSet
}

// Article is one card of [News]. All fields are optional, and the URLs are not checked: the API
// does that (45005, 45006).
type Article struct {
	Title       string
	Description string
	URL         string // Where a tap on it leads.
	PicURL      string // JPG or PNG, best 640x320 (large) or 80x80 (small) pixels.
	Extra       []Member
	empty       fieldSet
}

// MsgType returns "news".
func (*News) MsgType() string { return "news" }

func (m *News) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "articles", list: (*articles)(&m.Articles)},
	}}
}

func (a *Article) form() form {
	return form{extra: &a.Extra, empty: &a.empty, fields: fields{
		{name: "title", str: &a.Title, doubt: breaks},
		{name: "description", str: &a.Description, doubt: breaks},
		{name: "url", str: &a.URL},
		{name: "picurl", str: &a.PicURL},
	}}
}

type articles []Article

func (l *articles) len() int                         { return len(*l) }
func (l *articles) at(i int) form                    { return (*l)[i].form() }
func (l *articles) most(limits Limits) (int, string) { return limits.NewsArticles, "articles" }

func (l *articles) add() form {
	*l = append(*l, Article{})
	return l.at(l.len() - 1)
}

// WxCard is msgtype wxcard: a coupon. Its example on the API's page has no msgtype; such a packet
// is accepted and sent with it.
type WxCard struct {
	CardID  string // The API answers 40073 to one it does not know.
	CardExt string // Optional: a string that itself holds JSON.
	Extra   []Member
	empty   fieldSet
}

// MsgType returns "wxcard".
func (*WxCard) MsgType() string { return "wxcard" }

func (m *WxCard) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "card_id", str: &m.CardID, rule: notBlank},
		{name: "card_ext", str: &m.CardExt},
	}}
}

// MPNews is msgtype mpnews: an article of the app's own, by media id.
type MPNews struct {
	MediaID string // As in [Image].
	Extra   []Member
	empty   fieldSet
}

// MsgType returns "mpnews".
func (*MPNews) MsgType() string { return "mpnews" }

func (m *MPNews) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "media_id", str: &m.MediaID, rule: notBlank},
	}}
}

// MPNewsArticle is msgtype mpnewsarticle: an article of the app's own, by the id that publishing it
// gave.
type MPNewsArticle struct {
	ArticleID string // The API answers 53600 to one it does not know.
	Extra     []Member
	empty     fieldSet
}

// MsgType returns "mpnewsarticle".
func (*MPNewsArticle) MsgType() string { return "mpnewsarticle" }

func (m *MPNewsArticle) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "article_id", str: &m.ArticleID, rule: notBlank},
	}}
}

// MsgMenu is msgtype msgmenu: a text with choices to tap on.
type MsgMenu struct {
	HeadContent string     // Optional: the text above.
	List        []MenuItem // At least one; how many the API takes is unpublished (45098).
	TailContent string     // Optional: the text below.
	Extra       []Member
	empty       fieldSet
}

// MenuItem is one choice of a [MsgMenu].
type MenuItem struct {
	// Comes back with the user's tap. A packet may also carry it as a number, which stays one when
	// it is sent.
	ID string
	// What the user reads; too long draws 45099.
	Content string
	Extra   []Member
	empty   fieldSet
	number  bool
}

// MsgType returns "msgmenu".
func (*MsgMenu) MsgType() string { return "msgmenu" }

func (m *MsgMenu) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "head_content", str: &m.HeadContent, doubt: breaks},
		{name: "list", list: (*menuItems)(&m.List)},
		{name: "tail_content", str: &m.TailContent, doubt: breaks},
	}}
}

func (m *MenuItem) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "id", str: &m.ID, number: &m.number, rule: notBlank, doubt: menuID},
		{name: "content", str: &m.Content, rule: notBlank, doubt: breaks},
	}}
}

type menuItems []MenuItem

func (l *menuItems) len() int                  { return len(*l) }
func (l *menuItems) at(i int) form             { return (*l)[i].form() }
func (l *menuItems) most(Limits) (int, string) { return math.MaxInt, "entries" }

func (l *menuItems) add() form {
	*l = append(*l, MenuItem{})
	return l.at(l.len() - 1)
}

// MiniProgramPage is msgtype miniprogrampage: a card that opens a mini program, which must be
// linked to the app (40168).
type MiniProgramPage struct {
	Title string
	// Of the mini program; the API answers 40166 to a wrong one. Optional when the app is that mini
	// program.
	AppID string
	// The API answers 40165 to a wrong one.
	PagePath string
	// The picture on the card.
	ThumbMediaID string
	Extra        []Member
	empty        fieldSet
}

// MsgType returns "miniprogrampage".
func (*MiniProgramPage) MsgType() string { return "miniprogrampage" }

func (m *MiniProgramPage) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "title", str: &m.Title, rule: notBlank, doubt: breaks},
		{name: "appid", str: &m.AppID, rule: notBlank, optional: Limits.isMiniProgram},
		{name: "pagepath", str: &m.PagePath, rule: notBlank},
		{name: "thumb_media_id", str: &m.ThumbMediaID, rule: notBlank},
	}}
}

// Link is msgtype link: a card that leads to a web page, which mini programs send in place of
// [News]. All fields are required: the API's page for mini programs says so, and to a link with an
// empty url and thumb_url the API has answered 0 and sent nothing.
type Link struct {
	Title       string
	Description string
	// Where a tap on it leads: an absolute http or https URL.
	URL string
	// JPG or PNG, best 640x320 (large) or 80x80 (small) pixels: an absolute http or https URL.
	ThumbURL string
	Extra    []Member
	empty    fieldSet
}

const link = "link"

// MsgType returns "link".
func (*Link) MsgType() string { return link }

func (m *Link) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "title", str: &m.Title, rule: notBlank, doubt: breaks},
		{name: "description", str: &m.Description, rule: notBlank, doubt: breaks},
		{name: "url", str: &m.URL, rule: linkURL},
		{name: "thumb_url", str: &m.ThumbURL, rule: linkThumbURL},
	}}
}

// CustomService lets a message come from a kfaccount, with its name and picture.
type CustomService struct {
	// prefix@wechatid, the wechatid being the app's; the API answers 65401 or 61452 to one it does
	// not know.
	KFAccount string
	Extra     []Member
	empty     fieldSet
}

func (m *CustomService) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "kf_account", str: &m.KFAccount, rule: kfAccount},
	}}
}

// AIMsgContext says whether the message was made by an AI; the user then reads so below it.
type AIMsgContext struct {
	IsAIMsg bool // is_ai_msg, 0 or 1 on the wire.
	Extra   []Member
	empty   fieldSet
}

func (m *AIMsgContext) form() form {
	return form{extra: &m.Extra, empty: &m.empty, fields: fields{
		{name: "is_ai_msg", flag: &m.IsAIMsg},
	}}
}
