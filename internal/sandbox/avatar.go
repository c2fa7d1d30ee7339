package sandbox

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// answerKFAvatar takes the form file "media", which has to be a JPEG; its picture need not be
// square or of any size.
func (s *Sandbox) answerKFAvatar(q *request) answer {
	if code := s.admit(q, http.MethodPost); code != 0 {
		return refuse(code)
	}
	set := &s.settings.Load().KFAccounts
	picture, found := q.formFile("media")
	switch {
	case !found:
		return refuse(41005)
	case len(picture) == 0:
		return refuse(44001)
	case set.AvatarBytes > 0 && len(picture) > set.AvatarBytes:
		return refuse(set.code(kfLargeAvatar))
	}
	if _, err := jpeg.DecodeConfig(bytes.NewReader(picture)); err != nil {
		return refuse(set.code(kfNoJPEG))
	}
	app := q.token.app
	app.mu.Lock()
	defer app.mu.Unlock()
	a := app.accountsFor(q).find(queryAccount(q.query, set.RawQuery))
	if a == nil {
		return refuse(set.code(kfUnknown))
	}
	a.Avatar = picture
	return done()
}

// formFile returns the content of the form's file of this name.
func (q *request) formFile(name string) (content []byte, found bool) {
	kind, params, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, false
	}
	parts := multipart.NewReader(strings.NewReader(q.body), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, false
		}
		if part.FormName() == name && part.FileName() != "" {
			content, err = io.ReadAll(part)
			return content, err == nil
		}
	}
}

// avatarURL returns where a picture can be had: from the control API, as there is no CDN here. Each
// upload has a URL of its own.
func avatarURL(host, appID string, a KFAccount) string {
	return fmt.Sprintf("http://%s/sandbox/kfaccounts/avatar?appid=%s&kf_account=%s&v=%s",
		host, url.QueryEscape(appID), url.QueryEscape(a.Account), hexHash(hashOf(string(a.Avatar))))
}
