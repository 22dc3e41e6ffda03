___INFO___

{
  "type": "TAG",
  "id": "cvt_temp_public_id",
  "version": 1,
  "securityGroups": [],
  "displayName": "Closed Loop",
  "categories": ["ANALYTICS", "MARKETING"],
  "brand": {"id": "brand_closedloop", "displayName": "Closed Loop", "thumbnail": ""},
  "description": "Loads the tracker of your own collector and tells it page views, events, who somebody is, and consent.",
  "containerContexts": ["WEB"]
}


___TEMPLATE_PARAMETERS___

[
  {
    "type": "TEXT",
    "name": "endpoint",
    "displayName": "Collector",
    "simpleValueType": true,
    "valueHint": "https://collect.example.com",
    "help": "Where t.js and the events go: the address that the deployment printed, or your own host if it hands both on.",
    "valueValidators": [{"type": "REGEX", "args": ["^https://[^/?#\\s]+(/[^?#\\s]*)?$"], "errorMessage": "An address with https, such as https://collect.example.com"}]
  },
  {
    "type": "TEXT",
    "name": "writeKey",
    "displayName": "Write key",
    "simpleValueType": true,
    "valueHint": "pk_YOUR_KEY",
    "help": "The public write_key of the site's file.",
    "valueValidators": [{"type": "NON_EMPTY"}]
  },
  {
    "type": "CHECKBOX",
    "name": "followConsent",
    "checkboxText": "Follow Google's Consent Mode",
    "simpleValueType": true,
    "defaultValue": false,
    "help": "Nothing but a count is told until analytics_storage is granted. Check it only if your consent banner sets defaults: by Google's rule, a type that nobody has set counts as granted."
  },
  {
    "type": "SELECT",
    "name": "consent",
    "displayName": "Consent",
    "simpleValueType": true,
    "defaultValue": "opt_in",
    "selectItems": [
      {"value": "opt_in", "displayValue": "Only a count until the visitor agrees"},
      {"value": "notice", "displayValue": "From the first page on, with a notice"},
      {"value": "opt_out", "displayValue": "From the first page on, until the visitor objects"}
    ],
    "help": "The same as consent in the site's file.",
    "enablingConditions": [{"paramName": "followConsent", "paramValue": true, "type": "NOT_EQUALS"}]
  },
  {
    "type": "SELECT",
    "name": "action",
    "displayName": "What to tell",
    "simpleValueType": true,
    "defaultValue": "load",
    "selectItems": [
      {"value": "load", "displayValue": "Page views, by themselves"},
      {"value": "page", "displayValue": "One page view"},
      {"value": "track", "displayValue": "An event"},
      {"value": "identify", "displayValue": "Who somebody is"}
    ]
  },
  {
    "type": "CHECKBOX",
    "name": "manual",
    "checkboxText": "No page views but those that tags tell",
    "simpleValueType": true,
    "defaultValue": false,
    "help": "The same on all tags of a page."
  },
  {
    "type": "TEXT",
    "name": "name",
    "displayName": "Name",
    "simpleValueType": true,
    "valueHint": "Trial Started",
    "help": "An object and what was done with it, as in Order Completed; of a page view, the page's name.",
    "enablingConditions": [
      {"paramName": "action", "paramValue": "track", "type": "EQUALS"},
      {"paramName": "action", "paramValue": "page", "type": "EQUALS"}
    ]
  },
  {
    "type": "TEXT",
    "name": "userId",
    "displayName": "Your own id of the person",
    "simpleValueType": true,
    "enablingConditions": [{"paramName": "action", "paramValue": "identify", "type": "EQUALS"}]
  },
  {
    "type": "SIMPLE_TABLE",
    "name": "properties",
    "displayName": "Properties, or traits of the person",
    "simpleTableColumns": [
      {"name": "name", "displayName": "Name", "type": "TEXT", "defaultValue": "", "isUnique": true},
      {"name": "value", "displayName": "Value", "type": "TEXT", "defaultValue": ""}
    ],
    "enablingConditions": [{"paramName": "action", "paramValue": "load", "type": "NOT_EQUALS"}]
  }
]


___SANDBOXED_JS_FOR_WEB_TEMPLATE___

const addConsentListener = require('addConsentListener');
const callInWindow = require('callInWindow');
const encodeUriComponent = require('encodeUriComponent');
const injectScript = require('injectScript');
const isConsentGranted = require('isConsentGranted');
const makeTableMap = require('makeTableMap');

const TYPES = ['analytics_storage', 'ad_storage', 'ad_user_data', 'ad_personalization'];
const endpoint = data.endpoint.charAt(data.endpoint.length - 1) === '/' ? data.endpoint.slice(0, -1) : data.endpoint;
const script = endpoint + '/t.js?site=' + encodeUriComponent(data.writeKey) +
  '&consent=' + (data.followConsent ? 'opt_in' : data.consent) + (data.manual ? '&page=manual' : '');

const tellConsent = () => {
  const choice = {};
  TYPES.forEach((type) => {
    choice[type] = isConsentGranted(type) ? 'granted' : 'denied';
  });
  callInWindow('closedloop.consent', choice);
};

// All tags of a page ask for the same script, which comes once; the first to fire loads it.
injectScript(script, () => {
  if (data.followConsent) tellConsent();
  if (data.followConsent && data.action === 'load') TYPES.forEach((type) => addConsentListener(type, tellConsent));
  const fields = makeTableMap(data.properties || [], 'name', 'value') || {};
  if (data.action === 'track') callInWindow('closedloop.track', data.name, fields);
  if (data.action === 'page') callInWindow('closedloop.page', data.name || '', fields);
  if (data.action === 'identify') callInWindow('closedloop.identify', data.userId || '', fields);
  data.gtmOnSuccess();
}, data.gtmOnFailure, script);


___WEB_PERMISSIONS___

[
  {
    "instance": {
      "key": {"publicId": "inject_script", "versionId": "1"},
      "param": [{"key": "urls", "value": {"type": 2, "listItem": [{"type": 1, "string": "https://*/*"}]}}]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  },
  {
    "instance": {
      "key": {"publicId": "access_globals", "versionId": "1"},
      "param": [
        {
          "key": "keys",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "key"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}, {"type": 1, "string": "execute"}],
                "mapValue": [{"type": 1, "string": "closedloop.consent"}, {"type": 8, "boolean": false}, {"type": 8, "boolean": false}, {"type": 8, "boolean": true}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "key"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}, {"type": 1, "string": "execute"}],
                "mapValue": [{"type": 1, "string": "closedloop.track"}, {"type": 8, "boolean": false}, {"type": 8, "boolean": false}, {"type": 8, "boolean": true}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "key"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}, {"type": 1, "string": "execute"}],
                "mapValue": [{"type": 1, "string": "closedloop.page"}, {"type": 8, "boolean": false}, {"type": 8, "boolean": false}, {"type": 8, "boolean": true}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "key"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}, {"type": 1, "string": "execute"}],
                "mapValue": [{"type": 1, "string": "closedloop.identify"}, {"type": 8, "boolean": false}, {"type": 8, "boolean": false}, {"type": 8, "boolean": true}]
              }
            ]
          }
        }
      ]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  },
  {
    "instance": {
      "key": {"publicId": "access_consent", "versionId": "1"},
      "param": [
        {
          "key": "consentTypes",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "consentType"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}],
                "mapValue": [{"type": 1, "string": "analytics_storage"}, {"type": 8, "boolean": true}, {"type": 8, "boolean": false}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "consentType"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}],
                "mapValue": [{"type": 1, "string": "ad_storage"}, {"type": 8, "boolean": true}, {"type": 8, "boolean": false}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "consentType"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}],
                "mapValue": [{"type": 1, "string": "ad_user_data"}, {"type": 8, "boolean": true}, {"type": 8, "boolean": false}]
              },
              {
                "type": 3,
                "mapKey": [{"type": 1, "string": "consentType"}, {"type": 1, "string": "read"}, {"type": 1, "string": "write"}],
                "mapValue": [{"type": 1, "string": "ad_personalization"}, {"type": 8, "boolean": true}, {"type": 8, "boolean": false}]
              }
            ]
          }
        }
      ]
    },
    "clientAnnotations": {"isEditedByUser": true},
    "isRequired": true
  }
]


___TESTS___

scenarios:
- name: The tracker is loaded with the site's key and consent mode
  code: |-
    mock('injectScript', (url, onSuccess, onFailure, token) => {
      assertThat(url).isEqualTo('https://collect.example.com/t.js?site=pk_YOUR_KEY&consent=notice');
      assertThat(token).isEqualTo(url);
      onSuccess();
    });
    runCode(mockData);
    assertApi('injectScript').wasCalled();
    assertApi('callInWindow').wasNotCalled();
    assertApi('gtmOnSuccess').wasCalled();
- name: A script that cannot be loaded is a tag that failed
  code: |-
    mock('injectScript', (url, onSuccess, onFailure) => onFailure());
    runCode(mockData);
    assertApi('gtmOnFailure').wasCalled();
    assertApi('gtmOnSuccess').wasNotCalled();
- name: An event is told with its properties
  code: |-
    mock('injectScript', (url, onSuccess) => onSuccess());
    mockData.action = 'track';
    mockData.name = 'Trial Started';
    mockData.properties = [{name: 'plan', value: 'pro'}];
    runCode(mockData);
    assertApi('callInWindow').wasCalledWith('closedloop.track', 'Trial Started', {plan: 'pro'});
- name: A person is told by your own id
  code: |-
    mock('injectScript', (url, onSuccess) => onSuccess());
    mockData.action = 'identify';
    mockData.userId = 'customer-1204';
    runCode(mockData);
    assertApi('callInWindow').wasCalledWith('closedloop.identify', 'customer-1204', {});
- name: Page views are left to the tags when they say so
  code: |-
    mock('injectScript', (url, onSuccess) => {
      assertThat(url).isEqualTo('https://www.example.com/measure/t.js?site=pk_YOUR_KEY&consent=notice&page=manual');
      onSuccess();
    });
    mockData.action = 'page';
    mockData.name = 'Pumps';
    mockData.manual = true;
    mockData.endpoint = 'https://www.example.com/measure/';
    runCode(mockData);
    assertApi('callInWindow').wasCalledWith('closedloop.page', 'Pumps', {});
- name: Consent Mode decides before anything else is told, and again when it changes
  code: |-
    let granted = false;
    const listeners = [];
    mock('injectScript', (url, onSuccess) => onSuccess());
    mock('isConsentGranted', (type) => granted && type === 'analytics_storage');
    mock('addConsentListener', (type, listener) => { listeners.push(listener); });
    mockData.followConsent = true;
    runCode(mockData);
    const denied = {analytics_storage: 'denied', ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied'};
    assertApi('callInWindow').wasCalledWith('closedloop.consent', denied);
    granted = true;
    listeners.forEach((listener) => listener());
    const agreed = {analytics_storage: 'granted', ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied'};
    assertApi('callInWindow').wasCalledWith('closedloop.consent', agreed);
setup: |-
  const mockData = {
    endpoint: 'https://collect.example.com', writeKey: 'pk_YOUR_KEY', consent: 'notice', action: 'load',
  };
  mock('callInWindow', () => {});


___NOTES___

Closed Loop's tag for Google Tag Manager. Import this file under Templates, then make a tag of it.
