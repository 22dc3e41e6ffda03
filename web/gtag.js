/* Closed Loop adapter for pages that already speak gtag: load it after t.js or after the loader.
 *
 * It listens to dataLayer, so what the page calls stays as it is, with Google's own script beside it or without. */
(function (window) {
  'use strict';

  // Google's recommended events that have a name of their own in the Segment specification.
  const NAMES = {
    add_payment_info: 'Payment Info Entered',
    add_to_cart: 'Product Added',
    begin_checkout: 'Checkout Started',
    purchase: 'Order Completed',
    refund: 'Order Refunded',
    remove_from_cart: 'Product Removed',
    search: 'Products Searched',
    sign_up: 'Signed Up',
    login: 'Signed In',
    view_item: 'Product Viewed',
    view_item_list: 'Product List Viewed',
  };
  const PROPERTIES = { transaction_id: 'order_id', value: 'revenue', items: 'products', search_term: 'query' };

  function titled(name) {
    return name.split('_').map(function (word) { return word.charAt(0).toUpperCase() + word.slice(1); }).join(' ');
  }

  function properties(params) {
    const found = {};
    Object.keys(params || {}).forEach(function (key) {
      if (key !== 'event_callback' && key !== 'send_to') found[PROPERTIES[key] || key] = params[key];
    });
    return found;
  }

  function hear(call) {
    const closedloop = window.closedloop;
    const params = call[2] || {};
    if (call[0] === 'event' && call[1] === 'page_view') closedloop.page(properties(params));
    else if (call[0] === 'event') closedloop.track(NAMES[call[1]] || titled(call[1]), properties(params));
    else if (call[0] === 'consent') closedloop.consent(params);
    else if (call[0] === 'config' && params.user_id) closedloop.identify(params.user_id);
    else if (call[0] === 'set' && call[1] && call[1].user_id) closedloop.identify(call[1].user_id);
  }

  function guarded(call) {
    try {
      hear(call);
    } catch (error) {
      // A call that we do not understand is Google's alone.
    }
  }

  const layer = window.dataLayer = window.dataLayer || [];
  window.gtag = window.gtag || function () { layer.push(arguments); };
  layer.slice().forEach(guarded);
  const push = layer.push;
  layer.push = function () {
    Array.prototype.forEach.call(arguments, guarded);
    return push.apply(layer, arguments);
  };
})(window);
