package wechat

// generalCodes mean the same on every call: the platform's state, the stale token, who is calling,
// signing, quotas.
var generalCodes = []Code{
	{
		CallAny, 0, "ok", FaultNone,
		"accepted by WeChat", "请求成功", srcOJPM,
		doNothingEn, doNothingZh,
	},
	{
		CallAny, -1, "busy", FaultBusy,
		"WeChat is busy; some payloads draw it every time", "系统繁忙；个别消息内容会持续返回此码",
		srcOJPM + "; community reports",
		"Nothing while it passes. If one kind of message always ends so, look at its content " +
			"(some images and mini-program cards do it).",
		"偶发时无需处理。若同一类消息始终返回此码，请检查其内容（部分图片和小程序卡片会触发）。",
	},
	{
		CallAny, -1000, "system_error", FaultBusy,
		"internal error at WeChat", "微信系统错误", srcPC,
		doWaitEn, doWaitZh,
	},
	{
		CallAny, 268487001, "busy_new_1", FaultBusy,
		"WeChat is busy (newer numbering)", "系统繁忙（新版返回码）", srcM,
		doWaitEn, doWaitZh,
	},
	{
		CallAny, 268487002, "busy_new_2", FaultBusy,
		"WeChat is busy (newer numbering)", "系统繁忙（新版返回码）", srcM,
		doWaitEn, doWaitZh,
	},

	// The token.
	{
		CallAny, 40001, "token_not_latest", FaultToken,
		"the access token is invalid or not the latest", "access_token 无效或不是最新的", srcOJPM,
		doTokenEn, doTokenZh,
	},
	{
		CallAny, 40014, "token_invalid", FaultToken,
		"not a valid access token", "不合法的 access_token", srcJPM,
		doTokenEn, doTokenZh,
	},
	{
		CallAny, 41001, "token_missing", FaultToken,
		"the request carried no access token", "缺少 access_token 参数", srcOJP,
		"Check that no proxy in between cuts the query off the URL.",
		"请检查中间代理是否丢弃了 URL 中的查询参数。",
	},
	{
		CallAny, 42001, "token_expired", FaultToken,
		"the access token has expired", "access_token 已过期", srcOJPM,
		doTokenEn, doTokenZh,
	},
	{
		CallAny, 42002, "refresh_token_expired", FaultConfig,
		"the refresh token has expired", "refresh_token 已过期", srcJP,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 42003, "oauth_code_expired", FaultConfig,
		"the OAuth code has expired", "oauth_code 已过期", srcJP,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 42006, "component_token_expired", FaultConfig,
		"the third-party platform's token has expired", "component_access_token 已过期", srcJP,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 42007, "authorisation_lost", FaultConfig,
		"the authorisation ended with a change of password",
		"用户修改微信密码，access_token 与 refresh_token 失效，需要重新授权", srcJP,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 48012, "token_invalid_new", FaultToken,
		"not a valid token", "无效的 token", srcJW,
		doTokenEn, doTokenZh,
	},

	// Who is calling, and from where.
	{
		CallAny, 40002, "invalid_grant_type", FaultConfig,
		"not a valid grant_type", "不合法的凭证类型（grant_type）", srcOJPM,
		doBugEn, doBugZh,
	},
	{
		CallAny, 40013, "invalid_appid", FaultConfig,
		"no such AppID", "不合法的 AppID", srcOJPM,
		doSecretEn, doSecretZh,
	},
	{
		CallAny, 40125, "invalid_appsecret", FaultConfig,
		"the AppSecret is wrong, or was reset", "AppSecret 不正确或已被重置", srcJPM,
		doSecretEn, doSecretZh,
	},
	{
		CallAny, 40164, "ip_not_allowed", FaultConfig,
		"the calling IP address is not on the app's allow-list",
		"调用方 IP 不在该公众号的 IP 白名单中", srcJMC,
		doAllowIPEn, doAllowIPZh,
	},
	{
		CallAny, 40243, "appsecret_frozen", FaultConfig,
		"the AppSecret has been frozen by the app's owner", "AppSecret 已被管理员冻结", srcOM,
		"Unfreeze the AppSecret on mp.weixin.qq.com, or reset it and update the secret file.",
		"请在 mp.weixin.qq.com 解冻 AppSecret，或重置后更新密钥文件。",
	},
	{
		CallAny, 41002, "appid_missing", FaultConfig,
		"the request carried no AppID", "缺少 appid 参数", srcJPM,
		doSecretEn, doSecretZh,
	},
	{
		CallAny, 41004, "appsecret_missing", FaultConfig,
		"the request carried no AppSecret", "缺少 secret 参数", srcJPM,
		doSecretEn, doSecretZh,
	},
	{
		CallAny, 43001, "get_required", FaultConfig,
		"this call must be a GET", "该接口需要使用 GET 请求", srcJPM,
		doBugEn, doBugZh,
	},
	{
		CallAny, 43002, "post_required", FaultConfig,
		"this call must be a POST", "该接口需要使用 POST 请求", srcJPM,
		doBugEn, doBugZh,
	},
	{
		CallAny, 43003, "https_required", FaultConfig,
		"this call must use https", "该接口需要使用 HTTPS 请求", srcJPM,
		"Set wechat.base_url to an https:// address.",
		"请将 wechat.base_url 改为 https:// 地址。",
	},
	{
		CallAny, 45035, "ip_not_registered", FaultConfig,
		"the calling IP address is not registered", "调用方 IP 未登记，不在白名单中", srcOJ,
		doAllowIPEn, doAllowIPZh,
	},
	{
		CallAny, 40090, "client_ip_bad", FaultConfig,
		"the request comes from a bad IP address", "请求来源无效（客户端 IP 不合法）", srcJW,
		doEgressEn, doEgressZh,
	},
	{
		CallAny, 40187, "ip_invalid", FaultConfig,
		"the calling IP address is not valid here", "调用方 IP 不合法", srcJW,
		doEgressEn, doEgressZh,
	},
	{
		CallAny, 45032, "ip_not_inner", FaultConfig,
		"the calling IP address is not among those that this special account may use",
		"调用方 IP 不在该特殊帐号的内部白名单中", srcJW,
		doEgressEn, doEgressZh,
	},
	{
		CallAny, 40095, "caller_source_bad", FaultConfig,
		"the source of the call is refused", "调用来源不合法", srcJW,
		doEgressEn, doEgressZh,
	},
	{
		CallAny, 61061, "overseas_access_denied", FaultConfig,
		"access from abroad is denied", "拒绝境外访问", srcJW,
		doEgressEn, doEgressZh,
	},
	{
		CallAny, 40221, "content_encoding_invalid", FaultConfig,
		"the Content-Encoding of the request is not valid", "请求的 Content-Encoding 不合法", srcJW,
		doBugEn, doBugZh,
	},
	{
		CallAny, 40222, "idc_domain_invalid", FaultConfig,
		"the host name of the request is not valid here", "请求的域名（机房）不合法", srcJW,
		doBugEn, doBugZh,
	},
	{
		CallAny, 44002, "body_empty", FaultConfig,
		"the posted body is empty", "POST 的数据包为空", srcJPM,
		doBugEn, doBugZh,
	},

	// The signature: the app asks for signed and encrypted requests.
	{
		CallAny, 40234, "api_signature_invalid", FaultConfig,
		"the request is not signed, or not rightly: API signing is switched on for the app",
		"签名缺失或无效：该公众号已开启 API 签名", srcSign,
		doSigningEn, doSigningZh,
	},
	{
		CallAny, 40235, "api_encryption_invalid", FaultConfig,
		"the request is not encrypted, or not rightly: API encryption is switched on for the app",
		"加密缺失或无效：该公众号已开启 API 加密", srcSign,
		doSigningEn, doSigningZh,
	},
	{
		CallAny, 87009, "signature_invalid", FaultConfig,
		"not a valid signature (session data or signed API)",
		"签名无效（会话数据或接口签名）", srcJP,
		doSigningEn, doSigningZh,
	},

	// Quotas.
	{
		CallAny, 45009, "day_quota_reached", FaultDayQuota,
		"the daily quota of this API is used up", "接口调用次数已达当日上限", srcOJPM,
		"Wait for midnight Beijing time, or clear the quota on mp.weixin.qq.com (10 times a " +
			"month).",
		"可等待北京时间零点重置，或在 mp.weixin.qq.com 清零额度（每月 10 次）。",
	},
	{
		CallAny, 45011, "minute_quota_reached", FaultMinuteQuota,
		"too many calls within a minute", "接口调用过于频繁，已达每分钟上限", srcJPC,
		"Nothing: kefu goes on with the next minute. If it keeps coming, lower rate.per_second " +
			"of the app.",
		"无需处理：kefu 会在下一分钟继续。若频繁出现，请调低该公众号的 rate.per_second。",
	},
	{
		CallAny, 44991, "minute_frequency_reached", FaultMinuteQuota,
		"too many calls within a minute (other APIs)",
		"接口调用过于频繁（其他接口使用的返回码）", srcC,
		doWaitEn, doWaitZh,
	},
	{
		CallAny, 45040, "month_quota_reached", FaultConfig,
		"the monthly quota is used up", "接口调用次数已达当月上限", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallAny, 45104, "domain_quota_reached", FaultConfig,
		"the quota of this domain is used up", "该域名的调用额度已达上限", srcJ,
		doMPEn, doMPZh,
	},

	// Codes that come with no words: two tries, then a person must look.
	{
		CallAny, 4, "undocumented_4", FaultUnlisted,
		"undocumented; seen with a wrong path and an errmsg that holds only a rid",
		"官方未说明；曾因接口路径有误而出现，errmsg 中仅有 rid", srcC,
		"Check wechat.base_url, then query the call with its rid (kept for 7 days).",
		"请检查 wechat.base_url，并凭 rid 查询这次调用的详情（保留 7 天）。",
	},
	{
		CallAny, 1007, "undocumented_1007", FaultUnlisted,
		"undocumented; the errmsg holds only a rid", "官方未说明；errmsg 中仅有 rid", srcC,
		"Query the call with its rid (kept for 7 days).",
		"请凭 rid 查询这次调用的详情（保留 7 天）。",
	},
}

// tokenCodes are those that mean something else, or ask for something else, when the call was for a
// token.
var tokenCodes = []Code{
	{
		CallToken, 40001, "appsecret_wrong", FaultConfig,
		"the AppSecret is wrong, or belongs to another app",
		"获取 access_token 时 AppSecret 错误，或 AppSecret 不属于该公众号", srcOM,
		doSecretEn, doSecretZh,
	},
	{
		CallToken, 45009, "token_quota_reached", FaultDayQuota,
		"the daily quota of token calls is used up",
		"获取 access_token 的次数已达当日上限", srcOJPM,
		"Find what else fetches tokens for this app. The cached token serves on; quotas are " +
			"reset at midnight Beijing time.",
		"请排查还有哪些系统在为该公众号获取 access_token。已缓存的 access_token 仍可使用；" +
			"额度于北京时间零点重置。",
	},
	{
		CallToken, 43002, "stable_token_post_required", FaultConfig,
		"stable_token accepts only a POST with JSON",
		"stable_token 接口仅支持以 POST 提交 JSON", srcM,
		doBugEn, doBugZh,
	},
}
