package wechat

// standingCodes are about what WeChat allows the app, on every call: its permissions and
// punishments, the third-party platform that calls for it, the administrator's confirmations.
var standingCodes = []Code{
	// The app's standing.
	{
		CallAny, 48001, "api_unauthorised", FaultConfig,
		"the app may not use this API, or the token is another kind of account's",
		"该公众号没有此接口的权限，或所用 access_token 属于其他类型的帐号", srcOJPM,
		"Check on mp.weixin.qq.com that the account is certified and has the customer-service " +
			"permission, and that the appid is the right one.",
		"请在 mp.weixin.qq.com 确认该公众号已认证并拥有客服消息权限，同时核对配置的 appid。",
	},
	{
		CallAny, 48003, "mass_send_agreement_missing", FaultConfig,
		"the mass-send agreement is not accepted (mass send only)",
		"未同意群发协议（仅群发接口）", srcJP,
		doMPEn, doMPZh,
	},
	{
		CallAny, 48004, "api_banned", FaultConfig,
		"the API is banned for violations", "接口因违规被封禁", srcJP,
		doMPEn, doMPZh,
	},
	{
		CallAny, 48009, "api_expired", FaultConfig,
		"this API has expired", "该接口已失效", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallAny, 45102, "api_blocked_for_now", FaultConfig,
		"the API is blocked for the time being", "接口被暂时封禁", srcJ,
		"Nothing but patience: a held app is probed again by itself. mp.weixin.qq.com " +
			"may tell the reason.",
		"请耐心等待，被暂停的公众号会自动重新探测；可登录 mp.weixin.qq.com 查看原因。",
	},
	{
		CallAny, 45103, "api_unsupported", FaultConfig,
		"this API is no longer supported", "该接口已不再支持", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallAny, 50001, "api_not_granted", FaultConfig,
		"the account has not granted this API", "未授权该接口", srcJP,
		doMPEn, doMPZh,
	},
	{
		CallAny, 50002, "account_limited", FaultConfig,
		"the account is limited: frozen, cancelled or punished",
		"帐号受限：可能被冻结、注销或因违规被处罚", srcJPM,
		doMPEn, doMPZh,
	},
	{
		CallAny, 50003, "not_in_white_list", FaultConfig,
		"the account is not on the white list of this API", "帐号不在该接口的白名单中", srcJ,
		doMPEn, doMPZh,
	},
	{
		CallAny, 50004, "token_use_forbidden", FaultConfig,
		"the account may not use access tokens, probably as a punishment",
		"帐号被禁止使用 access_token，可能因违规被处罚", srcJ + "; a Java constant list",
		doMPEn, doMPZh,
	},
	{
		CallAny, 50007, "account_frozen", FaultConfig,
		"the account is frozen", "帐号已被冻结", "one SDK list only",
		doMPEn, doMPZh,
	},
	{
		CallAny, 42005, "api_use_expired", FaultConfig,
		"the time for which the app may use this API is over", "接口使用期限已过", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 43007, "account_authorisation_required", FaultConfig,
		"the account has not authorised the call", "需要公众号授权", srcOJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 43015, "wechat_authorisation_required", FaultConfig,
		"this function needs an authorisation by WeChat", "该功能需要微信团队授权", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 43016, "weapp_not_certified", FaultConfig,
		"the mini program is not certified", "小程序未认证", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 43104, "appid_without_permission", FaultConfig,
		"this AppID does not have the permission", "该 AppID 没有权限", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 45501, "requests_blocked", FaultConfig,
		"part or all of the app's requests are blocked for the time being",
		"该公众号的部分或全部请求被暂时封禁", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 61052, "certification_required", FaultConfig,
		"the account must be certified", "帐号需要认证", srcJW,
		doMPEn, doMPZh,
	},
	{
		CallAny, 49001, "token_of_other_app", FaultConfig,
		"the access token is another app's", "AppID 与 access_token 所属的 AppID 不一致", srcJW,
		doTokenKindEn, doTokenKindZh,
	},

	// Third-party platforms.
	{
		CallAny, 40091, "component_ticket_not_valid", FaultConfig,
		"not a valid ticket of the third-party platform", "第三方平台 ticket 不合法", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 40094, "component_credential_invalid", FaultConfig,
		"not a valid credential of the third-party platform", "第三方平台凭证不合法", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 41018, "component_appid_missing", FaultConfig,
		"the request carried no component_appid", "缺少 component_appid 参数", srcOJW,
		doTokenKindEn, doTokenKindZh,
	},
	{
		CallAny, 41021, "component_token_missing", FaultConfig,
		"the request carried no component_access_token", "缺少 component_access_token 参数", srcJW,
		doTokenKindEn, doTokenKindZh,
	},
	{
		CallAny, 61000, "component_type_invalid", FaultConfig,
		"not a valid type of third-party platform", "无效的第三方平台类型", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61001, "component_type_mismatch", FaultConfig,
		"the type of the third-party platform does not match its AppID",
		"第三方平台类型与其 AppID 不匹配", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61002, "component_without_service", FaultConfig,
		"the third-party platform's AppID has no customer service",
		"第三方平台的 AppID 未开放客服", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61005, "component_ticket_expired", FaultConfig,
		"the ticket of the third-party platform has expired", "第三方平台 ticket 已过期", srcJWC,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61006, "component_ticket_invalid", FaultConfig,
		"the ticket of the third-party platform is invalid", "第三方平台 ticket 无效", srcJWC,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61009, "authorisation_code_invalid", FaultConfig,
		"the authorisation code is invalid", "授权码无效", srcJWC,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61010, "authorisation_code_expired", FaultConfig,
		"the authorisation code has expired", "授权码已过期", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61011, "component_invalid", FaultConfig,
		"no such third-party platform", "无效的第三方平台", srcJWC,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61014, "component_token_expected", FaultConfig,
		"a call of the third-party platform itself wants a component_access_token",
		"第三方平台自身的接口须使用 component_access_token", srcOJW,
		doTokenKindEn, doTokenKindZh,
	},
	{
		CallAny, 61015, "account_token_expected", FaultConfig,
		"this call wants an account's token, not the third-party platform's",
		"该接口须使用公众号的 access_token，而非第三方平台的凭证", srcJW,
		doTokenKindEn, doTokenKindZh,
	},
	{
		CallAny, 61016, "api_category_unconfirmed", FaultConfig,
		"the third-party platform has not confirmed the permission set of this API",
		"该接口所属权限集尚未经第三方平台确认", srcOJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61017, "api_category_unauthorised", FaultConfig,
		"the permission set of this API is not authorised to the third-party platform",
		"该接口所属权限集未授权给第三方平台", srcJW,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61028, "component_unpublished", FaultConfig,
		"the third-party platform is not published", "第三方平台未发布", srcJW,
		"Only seen when a third-party platform calls for the app: have the platform released.",
		"仅在第三方平台代公众号调用时出现：请先发布该第三方平台。",
	},
	{
		CallAny, 61029, "component_republish_required", FaultConfig,
		"the third-party platform must be published again with the basic permission set",
		"第三方平台须选择基础权限集后重新全网发布", srcJW,
		"Only seen when a third-party platform calls for the app: have the platform " +
			"released again.",
		"仅在第三方平台代公众号调用时出现：请重新全网发布该第三方平台。",
	},
	{
		CallAny, 61003, "platform_not_authorised", FaultConfig,
		"the third-party platform is not authorised by this account",
		"该公众号未授权给此第三方平台", srcOJPM,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61004, "platform_ip_not_registered", FaultConfig,
		"the calling IP address is not registered with the third-party platform",
		"调用方 IP 未在第三方平台登记", srcOJPM,
		doAllowIPEn, doAllowIPZh,
	},
	{
		CallAny, 61007, "platform_api_unauthorised", FaultConfig,
		"this API is not authorised to the third-party platform",
		"该接口未授权给此第三方平台", srcOJPM,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61023, "refresh_token_invalid", FaultConfig,
		"the refresh token is invalid", "refresh_token 无效", srcOJPM,
		doPlatformEn, doPlatformZh,
	},
	{
		CallAny, 61024, "component_token_required", FaultConfig,
		"a component account must fetch its token with api_component_token",
		"第三方平台帐号须使用 api_component_token 获取凭证", srcOJPM,
		doPlatformEn, doPlatformZh,
	},

	// The administrator's confirmation.
	{
		CallAny, 89501, "confirmation_unhandled", FaultConfig,
		"a confirmation request is waiting to be handled",
		"公众号有尚未处理的确认请求，请稍候重试", srcJC,
		doConfirmEn, doConfirmZh,
	},
	{
		CallAny, 89502, "confirmation_awaited", FaultConfig,
		"the administrator has not confirmed yet", "请等待管理员确认", srcJC,
		doConfirmEn, doConfirmZh,
	},
	{
		CallAny, 89503, "confirmation_required", FaultConfig,
		"a token request from this IP address needs the administrator's confirmation",
		"该 IP 获取 access_token 需要管理员确认", srcJMC,
		doConfirmEn, doConfirmZh,
	},
	{
		CallAny, 89504, "confirmation_pending", FaultConfig,
		"the administrator's confirmation is pending", "正在等待管理员确认", srcJC,
		doConfirmEn, doConfirmZh,
	},
	{
		CallAny, 89505, "confirmation_pending_retry", FaultConfig,
		"the administrator's confirmation is pending, try later",
		"正在等待管理员确认，请稍候重试", srcJC,
		doConfirmEn, doConfirmZh,
	},
	{
		CallAny, 89506, "ip_refused_day", FaultConfig,
		"the administrator refused this IP address; it may ask again after 24 hours",
		"管理员拒绝了该 IP 的调用，24 小时后可再次申请", srcJM,
		"Agree with the app's administrator first; after 24 hours the next call asks again.",
		"请先与公众号管理员沟通确认；24 小时后的下一次调用会重新申请。",
	},
	{
		CallAny, 89507, "ip_refused_hour", FaultConfig,
		"the administrator refused this IP address; it may ask again after 1 hour",
		"管理员拒绝了该 IP 的调用，1 小时后可再次申请", srcJM,
		"Agree with the app's administrator first; after an hour the next call asks again.",
		"请先与公众号管理员沟通确认；1 小时后的下一次调用会重新申请。",
	},
}
