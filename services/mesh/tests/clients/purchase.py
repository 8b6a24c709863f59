"""Buys something with a client that protoc generated for Python and grpcio.

usage: purchase.py GATEWAY PROTO_FOLDER GENERATED_FOLDER

Prints the order as one line of JSON. Nothing here is ours but the contracts.
"""

import json
import pathlib
import sys
import uuid

import grpc
import grpc_tools
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

gateway, protos, generated = sys.argv[1:4]


def generate():
    files = [
        str(path.relative_to(protos))
        for package in ("mercat", "buf")
        for path in sorted(pathlib.Path(protos, package).rglob("*.proto"))
    ]
    pathlib.Path(generated).mkdir(parents=True, exist_ok=True)
    # google/api comes with googleapis-common-protos.
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={generated}", f"--grpc_python_out={generated}", *files]
    if protoc.main(arguments) != 0:
        sys.exit("the clients cannot be generated")
    sys.path.insert(0, generated)


generate()

from mercat.catalog.v1 import products_pb2, products_pb2_grpc  # noqa: E402
from mercat.identity.v1 import auth_pb2, auth_pb2_grpc  # noqa: E402
from mercat.orders.v1 import orders_pb2, orders_pb2_grpc  # noqa: E402
from mercat.storefront.v1 import cart_pb2, cart_pb2_grpc, checkout_pb2, checkout_pb2_grpc  # noqa: E402
from mercat.values.v1 import address_pb2  # noqa: E402


def request_id():
    return str(uuid.uuid4())


with grpc.insecure_channel(gateway) as channel:
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "mercat.catalog.v1.ProductService" in services, services
    assert "mercat.orders.v1.OrderService" in services, services

    guest = auth_pb2_grpc.AuthServiceStub(channel).IssueGuestToken(
        auth_pb2.IssueGuestTokenRequest(request_id=request_id()), timeout=10
    )
    token = [("authorization", f"Bearer {guest.tokens.access_token}")]

    products = products_pb2_grpc.ProductServiceStub(channel)
    listed = products.ListProducts(products_pb2.ListProductsRequest(page_size=1), timeout=10)
    product = products.GetProduct(
        products_pb2.GetProductRequest(product_id=listed.products[0].product_id), timeout=10
    )

    carts = cart_pb2_grpc.CartServiceStub(channel)
    cart = carts.CreateCart(cart_pb2.CreateCartRequest(request_id=request_id()), metadata=token, timeout=10)
    carts.AddLine(
        cart_pb2.AddLineRequest(
            request_id=request_id(), cart_id=cart.cart_id, sku=product.variants[0].sku, quantity=2
        ),
        metadata=token,
        timeout=10,
    )

    checkouts = checkout_pb2_grpc.CheckoutServiceStub(channel)
    started = checkouts.StartCheckout(
        checkout_pb2.StartCheckoutRequest(request_id=request_id(), cart_id=cart.cart_id), metadata=token, timeout=10
    )
    own = {"checkout_id": started.checkout_id}
    checkouts.SetContact(
        checkout_pb2.SetContactRequest(request_id=request_id(), email="ana@example.com", **own),
        metadata=token,
        timeout=10,
    )
    address = address_pb2.PostalAddress(
        recipient="Ana Puig", address_lines=["Carrer de la Força 12"], locality="Girona", region_code="ES"
    )
    checkouts.SetAddresses(
        checkout_pb2.SetAddressesRequest(request_id=request_id(), shipping_address=address, **own),
        metadata=token,
        timeout=10,
    )
    checkouts.SetShippingOption(
        checkout_pb2.SetShippingOptionRequest(request_id=request_id(), code="standard", **own),
        metadata=token,
        timeout=10,
    )
    quote = checkouts.SetPaymentMethod(
        checkout_pb2.SetPaymentMethodRequest(request_id=request_id(), payment_method="pm_card_ok", **own),
        metadata=token,
        timeout=10,
    )

    # A refusal carries its details: a stale quote buys nothing.
    try:
        checkouts.CompleteCheckout(
            checkout_pb2.CompleteCheckoutRequest(request_id=request_id(), quote_hash="stale", **own),
            metadata=token,
            timeout=20,
        )
        sys.exit("a stale quote was accepted")
    except grpc.RpcError as refusal:
        assert refusal.code() == grpc.StatusCode.FAILED_PRECONDITION, refusal
        details = dict(refusal.trailing_metadata()).get("grpc-status-details-bin", b"")
        assert b"PRICE_CHANGED" in details, details

    request = checkout_pb2.CompleteCheckoutRequest(request_id=request_id(), quote_hash=quote.quote_hash, **own)
    bought = checkouts.CompleteCheckout(request, metadata=token, timeout=20)
    again = checkouts.CompleteCheckout(request, metadata=token, timeout=20)
    assert bought.SerializeToString() == again.SerializeToString(), (bought, again)
    order = orders_pb2_grpc.OrderServiceStub(channel).GetOrder(
        orders_pb2.GetOrderRequest(order_id=bought.order.order_id), metadata=token, timeout=10
    )
    print(
        json.dumps(
            {
                "order_id": order.order_id,
                "number": order.number,
                "status": orders_pb2.OrderStatus.Name(order.status),
                "total": order.totals.total.minor_units,
            }
        )
    )
