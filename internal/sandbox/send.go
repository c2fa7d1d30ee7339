package sandbox

import (
	"net/http"
	"unicode/utf8"
)

// msgTypes are the message types that the send call takes. "link" is for mini programs; whether an
// app is one the sandbox cannot know.
var msgTypes = map[string]string{
	"text": "text", "image": "image", "voice": "voice", "video": "video", "music": "music",
	"news": "news", "mpnews": "mpnews",
	"mpnewsarticle": "mpnewsarticle", "msgmenu": "msgmenu", "wxcard": "wxcard",
	"miniprogrampage": "miniprogrampage",
	"link":            "link",
}

func (s *Sandbox) readSend(q *request) {
	if s.opts.Fast {
		return
	}
	q.packet = scanPacket(q.body)
	q.openID = q.packet.toUser.text
	q.msgType = q.packet.msgType.text
	if known, ok := msgTypes[q.msgType]; ok {
		q.msgType = known // not a part of the body, which it would keep in memory
	}
}

// answerSend checks a message in the order token, method, body, recipient, type. Which code the
// real API gives for which mistake is taken from the meaning of the codes. What the object under
// the type's name holds, and whether the user may be written to, is asked when [Settings] say so.
func (s *Sandbox) answerSend(q *request) answer {
	if code := s.admit(q, http.MethodPost); code != 0 {
		return refuse(code)
	}
	switch {
	case q.size == 0:
		return refuse(44002)
	case s.opts.Fast:
		return accept()
	case !q.packet.ok || !utf8.ValidString(q.body):
		return refuse(47001)
	case q.packet.toUser.kind == absent:
		return refuse(41009)
	case q.packet.toUser.text == "":
		return refuse(40003)
	case msgTypes[q.msgType] == "":
		return refuse(40008)
	}
	set := s.settings.Load()
	code := s.checkMessage(q, set)
	if code == 0 {
		code = s.mayReach(q, set, spendMessage)
	}
	switch code {
	case 0:
		q.token.app.endTyping(q.openID)
		return accept()
	case tooManyArticles:
		return answer{silent: true}
	}
	return refuse(code)
}
