package wechat

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// KFAccount is a customer-service account (客服帐号) of the app, as the API lists it.
type KFAccount struct {
	Account string `json:"kf_account"` // prefix@wechatid
	Nick    string `json:"kf_nick"`    // what AddKFAccount calls nickname
	ID      string `json:"kf_id"`      // 工号
	HeadImg string `json:"kf_headimgurl,omitempty"`

	// The agent behind it, where the app uses the new customer service.
	WeChatID      string    `json:"kf_wx,omitempty"`             // bound to the account
	Invited       string    `json:"invite_wx,omitempty"`         // asked to be bound to it,
	InviteStatus  string    `json:"invite_status,omitempty"`     // waiting, rejected or expired,
	InviteExpires time.Time `json:"invite_expire_time,omitzero"` // and until when
}

// OnlineKFAccount is a kfaccount whose agent is online.
type OnlineKFAccount struct {
	Account  string `json:"kf_account"`
	ID       string `json:"kf_id"`
	Status   int64  `json:"status"`        // 1: on the web
	Accepted int64  `json:"accepted_case"` // sessions under way
}

// KFAccountChange is what is said of a kfaccount when it is added or updated. Check tells whether
// it may be.
type KFAccountChange struct {
	Account  string
	Nickname string
	Password Secret // see HashPassword; empty for none: today's API does without
}

func (k KFAccountChange) body() []byte {
	return encode(struct {
		Account  string `json:"kf_account"`
		Nickname string `json:"nickname"`
		Password string `json:"password,omitempty"`
	}{k.Account, k.Nickname, k.Password.Reveal()})
}

// AddKFAccount adds a kfaccount. One that is there already is refused with 61453 or 65406, one too
// many with 61456 or
// 65405. On an unknown outcome KFAccounts tells.
//
// API: /doc/service/api/customer/servicermanage on developers.weixin.qq.com, for this and the other
// calls here.
func (c *Client) AddKFAccount(ctx context.Context, k KFAccountChange) error {
	_, err := c.do(ctx, c.post(CallKFAccount, "/customservice/kfaccount/add"), k.body())
	return err
}

// UpdateKFAccount changes the nickname, and the password if one is given, of a kfaccount.
func (c *Client) UpdateKFAccount(ctx context.Context, k KFAccountChange) error {
	_, err := c.do(ctx, c.post(CallKFAccount, "/customservice/kfaccount/update"), k.body())
	return err
}

// DeleteKFAccount deletes a kfaccount. The API is known to say errcode 0 and keep it at times: look
// at KFAccounts afterwards.
//
// The document says GET and shows a body, today's page says POST, and clients in the field put the
// account into the query or the body: this is a POST with the account in both.
func (c *Client) DeleteKFAccount(ctx context.Context, account string) error {
	to := c.post(CallKFAccount, "/customservice/kfaccount/del")
	to.query = accountQuery(account)
	_, err := c.do(ctx, to, encode(struct {
		Account string `json:"kf_account"`
	}{account}))
	return err
}

// SetAvatar gives a kfaccount the JPEG file jpeg as its picture. CheckAvatar tells whether it is
// one.
func (c *Client) SetAvatar(ctx context.Context, account string, jpeg []byte) error {
	form, body := avatarForm(jpeg)
	to := c.post(CallKFAccount, "/customservice/kfaccount/uploadheadimg")
	to.query, to.form = accountQuery(account), form
	_, err := c.do(ctx, to, body)
	return err
}

// KFAccounts lists the app's kfaccounts.
func (c *Client) KFAccounts(ctx context.Context) ([]KFAccount, error) {
	r, err := c.do(ctx, c.get(CallKFAccount, "/cgi-bin/customservice/getkflist"), nil)
	if err != nil {
		return nil, err
	}
	return kfAccounts(r)
}

func kfAccounts(r reply) ([]KFAccount, error) {
	var rows []struct {
		Account       lenientText `json:"kf_account"`
		Nick          lenientText `json:"kf_nick"`
		ID            lenientText `json:"kf_id"`
		HeadImg       lenientText `json:"kf_headimgurl"`
		WeChatID      lenientText `json:"kf_wx"`
		Invited       lenientText `json:"invite_wx"`
		InviteStatus  lenientText `json:"invite_status"`
		InviteExpires lenientText `json:"invite_expire_time"`
	}
	if err := r.into(CallKFAccount, "kf_list", &rows); err != nil {
		return nil, err
	}
	list := make([]KFAccount, 0, len(rows))
	for _, k := range rows {
		list = append(list, KFAccount{
			Account: string(k.Account), Nick: string(k.Nick), ID: string(k.ID),
			HeadImg:  withoutBlanks(string(k.HeadImg)),
			WeChatID: string(k.WeChatID), Invited: string(k.Invited),
			InviteStatus: string(k.InviteStatus), InviteExpires: k.InviteExpires.time(),
		})
	}
	return list, nil
}

// OnlineKFAccounts lists the kfaccounts whose agents are online.
func (c *Client) OnlineKFAccounts(ctx context.Context) ([]OnlineKFAccount, error) {
	r, err := c.do(ctx, c.get(CallKFAccount, "/cgi-bin/customservice/getonlinekflist"), nil)
	if err != nil {
		return nil, err
	}
	return onlineKFAccounts(r)
}

func onlineKFAccounts(r reply) ([]OnlineKFAccount, error) {
	var rows []struct {
		Account  lenientText `json:"kf_account"`
		ID       lenientText `json:"kf_id"`
		Status   lenientText `json:"status"`
		Accepted lenientText `json:"accepted_case"`
	}
	if err := r.into(CallKFAccount, "kf_online_list", &rows); err != nil {
		return nil, err
	}
	list := make([]OnlineKFAccount, 0, len(rows))
	for _, k := range rows {
		list = append(list, OnlineKFAccount{string(k.Account), string(k.ID), k.Status.integer(),
			k.Accepted.integer()})
	}
	return list, nil
}

// accountQuery returns the kfaccount in the query. Its @ stays as it is: there is a server that
// does not decode %40 there.
func accountQuery(account string) string {
	return "&kf_account=" + strings.ReplaceAll(url.QueryEscape(account), "%40", "@")
}

// avatarForm returns the form that a browser would post: one file in the field media, made whole,
// since its length must be known before the first byte leaves.
func avatarForm(jpeg []byte) (contentType string, body []byte) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, _ := form.CreatePart(textproto.MIMEHeader{ // a Buffer takes all that is written
		"Content-Disposition": {`form-data; name="media"; filename="avatar.jpg"`},
		"Content-Type":        {"image/jpeg"},
	})
	_, _ = part.Write(jpeg)
	_ = form.Close()
	return form.FormDataContentType(), b.Bytes()
}

// withoutBlanks takes the blanks out of a URL: the API's own examples have them in front and
// within.
func withoutBlanks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}
